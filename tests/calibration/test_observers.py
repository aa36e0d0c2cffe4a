"""Every calibration method keeps the family's promises; each is what its formula says."""

import numpy as np
import pytest
from tresnet_deploy.calibration.histogram import BINS, Histogram
from tresnet_deploy.calibration.observers import Observer, entropy, minmax, mse, percentile

from tresnet_deploy.contracts import Array
from tresnet_deploy.registry import OBSERVERS


def ranged(name: str, *parts: Array) -> float:
    observer: Observer = OBSERVERS.load(name).Observer()
    for part in parts:
        observer.update(part)
    return observer.range()


def activations(size: int = 50_000, seed: int = 0) -> Array:
    """A long-tailed, one-sided distribution with one outlier."""
    rng = np.random.default_rng(seed)
    values = np.maximum(rng.laplace(0.5, 1, size), 0).astype(np.float32)
    values[7] = 60
    return values.reshape(50, -1, 5, 5)


@pytest.mark.parametrize("name", OBSERVERS.names())
class TestEveryMethod:
    def test_the_range_does_not_depend_on_the_order(self, name: str) -> None:
        parts = np.array_split(activations(), 13)
        assert ranged(name, *parts) == ranged(name, *reversed(parts))
        assert ranged(name, *parts) == ranged(name, activations())

    def test_the_range_is_never_beyond_the_largest_value(self, name: str) -> None:
        assert 0 < ranged(name, activations()) <= 60

    def test_the_sign_does_not_matter(self, name: str) -> None:
        assert ranged(name, activations()) == ranged(name, -activations())

    def test_the_range_scales_with_the_data(self, name: str) -> None:
        scaled = ranged(name, activations() * np.float32(8))
        assert scaled == pytest.approx(8 * ranged(name, activations()))

    @pytest.mark.parametrize("values", [np.zeros(100, np.float32), np.zeros((0, 4), np.float32)])
    def test_a_dead_activation_has_the_range_zero(self, name: str, values: Array) -> None:
        assert ranged(name, values) == 0.0

    def test_one_value_is_its_own_range(self, name: str) -> None:
        assert ranged(name, np.full(1000, 0.3, np.float32)) == pytest.approx(0.3, rel=0.01)


def test_minmax_is_the_largest_absolute_value() -> None:
    observer = minmax.Observer()
    observer.update(np.array([-3, 1, 2], np.float32))
    assert observer.range() == 3


def test_moving_average_is_the_mean_of_the_images_largest_values() -> None:
    images = np.random.default_rng(0).normal(size=(37, 3, 4, 4)).astype(np.float32)
    largest = np.abs(images).max(axis=(1, 2, 3)).astype(np.float64)
    found = ranged("moving-average", *np.array_split(images, 9))
    assert found == pytest.approx(largest.mean(), rel=1e-15)


def test_moving_average_hears_little_of_one_odd_image() -> None:
    images = np.ones((100, 3, 4, 4), np.float32)
    images[50] = 1000
    assert ranged("moving-average", images) == pytest.approx(10.99)
    assert ranged("minmax", images) == 1000


def test_percentile_is_that_of_numpy_to_one_bin() -> None:
    values = activations()
    width = 64 / BINS
    expected = np.percentile(np.abs(values).astype(np.float64), percentile.PERCENTILE)
    assert ranged("percentile", values) == pytest.approx(expected, abs=2 * width)


def test_mse_has_the_least_error_that_quantising_the_values_themselves_shows() -> None:
    values = activations().astype(np.float64).reshape(-1)

    def error(amax: float) -> float:
        step = amax / 127
        return float(np.square(np.clip(np.rint(values / step), -127, 127) * step - values).mean())

    found = ranged("mse", activations())
    best = min(error(amax) for amax in np.linspace(1, 60, 600))
    assert error(found) <= 1.02 * best


def test_mse_knows_that_values_below_half_a_step_become_zero() -> None:
    np.testing.assert_allclose(
        mse.squared_error(np.array([0.1, 0.9, 5.0, 130.0]), 127.0), [0.01, 1 / 12, 1 / 12, 9.0]
    )


def test_entropy_is_the_divergence_of_its_source_worked_out_bin_by_bin() -> None:
    counts = np.random.default_rng(0).integers(0, 50, 400).astype(np.float64)
    counts[100:140] = 0
    for size in (128, 200, 257, 400):
        assert entropy.divergence(counts, size) == pytest.approx(plain_divergence(counts, size))


def plain_divergence(counts: Array, size: int) -> float:
    p = [float(count) for count in counts[:size]]
    levels: dict[int, list[int]] = {}
    for index in range(size):
        levels.setdefault(index * 128 // size, []).append(index)
    q = [0.0] * size
    for members in levels.values():
        filled = [index for index in members if p[index] > 0]
        for index in filled:
            q[index] = sum(p[member] for member in members) / len(filled)
    p[-1] += float(counts[size:].sum())
    total_p, total_q = sum(p), sum(q)
    tiny = np.finfo(np.float64).tiny
    return sum(
        a / total_p * float(np.log(a / total_p / max(b / total_q, tiny)))
        for a, b in zip(p, q, strict=True)
        if a > 0
    )


def test_entropy_cuts_a_far_outlier_off() -> None:
    assert ranged("entropy", activations()) < 30


def test_methods_share_one_histogram_of_fixed_size() -> None:
    assert Histogram().counts.nbytes == BINS * 8
