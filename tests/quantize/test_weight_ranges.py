import numpy as np
import pytest

from tresnet_deploy.contracts import Array
from tresnet_deploy.precision.grids import INT8
from tresnet_deploy.precision.pairs import quantized, weight_scales
from tresnet_deploy.precision.weight_ranges import least_error


def error(array: Array, scales: Array) -> Array:
    restored = quantized(array, scales, 0).astype(np.float64) * scales.reshape(-1, 1)
    return np.asarray(np.square(restored - array).sum(axis=1))


@pytest.fixture
def rows() -> Array:
    rng = np.random.default_rng(0)
    array = rng.normal(size=(16, 2000))
    array[:, 0] = np.linspace(3, 12, 16)  # an outlier in each channel, of growing size
    return array


def test_no_channel_has_more_error_than_at_its_largest_weight(rows: Array) -> None:
    floors = np.zeros(len(rows))
    largest = error(rows, weight_scales(rows, 0, floors))
    least = error(rows, weight_scales(rows, 0, floors, weights="mse"))
    assert (least <= largest * 1.02).all()  # scales are rounded to bfloat16 afterwards
    assert (least < 0.97 * largest).any()


def test_the_step_is_the_best_of_all_that_are_looked_at(rows: Array) -> None:
    scales = np.abs(rows).max(axis=1) / 127
    found = least_error(rows, scales, INT8)
    for clip in np.arange(40, 65) / 64:
        assert (error(rows, found) <= error(rows, scales * clip) + 1e-12).all()


def test_exact_channels_and_floors_hold_as_before() -> None:
    blur = np.outer([1, 2, 1], [1, 2, 1]).reshape(1, 9) / 16
    assert weight_scales(blur, 0, np.zeros(1), weights="mse")[0] == 2**-8
    floors = np.array([0.5])
    scale = weight_scales(np.array([[0.3, 0.1, 0.2]]), 0, floors, weights="mse")
    assert scale[0] >= 0.5
