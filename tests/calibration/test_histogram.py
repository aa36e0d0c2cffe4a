import numpy as np
import pytest
from tresnet_deploy.calibration.histogram import BINS, Histogram

from tresnet_deploy.contracts import Array


def counted(*parts: Array) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.update(part)
    return histogram


@pytest.fixture(scope="module")
def values() -> Array:
    """Most values small, a few a thousand times as large, as activations are."""
    rng = np.random.default_rng(0)
    scales = np.exp(rng.uniform(-6, 1, 200_000))
    return (rng.standard_normal(200_000) * scales).astype(np.float32)


def test_every_value_is_counted_once_in_the_bin_that_numpy_finds(values: Array) -> None:
    histogram = counted(values)
    edges = np.arange(BINS + 1) * histogram.width
    expected, _ = np.histogram(np.abs(values).astype(np.float64), edges)
    np.testing.assert_array_equal(histogram.counts, expected)
    assert histogram.counts.sum() == values.size


def test_the_order_of_the_data_changes_nothing(values: Array) -> None:
    parts = np.array_split(values, 37)
    upwards = counted(*sorted(parts, key=lambda part: float(np.abs(part).max())))
    downwards = counted(*sorted(parts, key=lambda part: -float(np.abs(part).max())))
    for other in (counted(*parts), upwards, downwards):
        np.testing.assert_array_equal(other.counts, counted(values).counts)
        assert other.reach == counted(values).reach


def test_more_data_takes_no_more_memory(values: Array) -> None:
    before = counted(values).counts.nbytes
    assert counted(*[values] * 20, 1e6 * values[:10]).counts.nbytes == before


def test_at_least_half_of_the_bins_lie_below_the_largest_value(values: Array) -> None:
    histogram = counted(values)
    assert histogram.largest == np.abs(values).max()
    assert histogram.reach / 2 <= histogram.largest < histogram.reach


@pytest.mark.parametrize("value", [1.0, 2.0, 0.5, np.nextafter(np.float32(2), np.float32(0))])
def test_values_on_and_beside_a_power_of_two_are_counted(value: float) -> None:
    histogram = counted(np.array([value, -value], np.float32))
    assert histogram.counts[int(value / histogram.width)] == 2


@pytest.mark.parametrize("value", [1e-30, 1e-38, 1e-45, 3e38])
def test_values_at_the_ends_of_float32_are_counted(value: float) -> None:
    histogram = counted(np.array([0, value, -value], np.float32))
    assert histogram.counts.sum() == 3


def test_an_empty_array_changes_nothing() -> None:
    histogram = counted(np.zeros((0, 3, 8, 8), np.float32))
    assert (histogram.counts.sum(), histogram.largest) == (0, 0.0)


def test_zeros_alone_leave_the_largest_value_at_zero() -> None:
    histogram = counted(np.zeros(10, np.float32))
    assert (histogram.counts[0], histogram.largest) == (10, 0.0)
