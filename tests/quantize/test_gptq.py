"""The arithmetic of GPTQ: what it promises of one layer whose inputs' second moments are known."""

import itertools

import numpy as np
import pytest

from tresnet_deploy.contracts import Array
from tresnet_deploy.precision.grids import FP8, INT8
from tresnet_deploy.quantize.gptq import gptq

LENGTH = 8
STEPS = 7  # from 0 to the largest weight: a coarse grid, so that rounding matters


def inputs(length: int, *, count: int = 500) -> Array:
    """What a layer reads after a ReLU: correlated, none below 0."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(count, length)) @ rng.normal(size=(length, length))
    return np.asarray(np.maximum(mixed + 0.3, 0))


def moment(given: Array) -> Array:
    return np.asarray(given.T @ given / len(given))


def weights(length: int, *, seed: int = 1) -> tuple[Array, Array]:
    rows = np.random.default_rng(seed).normal(size=(4, length))
    return rows, np.abs(rows).max(axis=1) / STEPS


def squared_error(rows: Array, numbers: Array, scales: Array, given: Array) -> Array:
    """Mean squared error of each output (C,), of the outputs themselves."""
    kept = numbers.astype(np.float64) * scales[:, None]
    return np.asarray(np.square(given @ (rows - kept).T).mean(axis=0))


@pytest.mark.parametrize("length", [LENGTH, 200])
def test_outputs_err_less_than_with_the_nearest_numbers(length: int) -> None:
    given = inputs(length)
    rows, scales = weights(length)
    found = gptq(rows, scales, moment(given), INT8)
    assert found is not None
    nearest = INT8.rounded(rows / scales[:, None])
    before = squared_error(rows, nearest, scales, given)
    after = squared_error(rows, found.numbers, scales, given)
    assert (after <= before * (1 + 1e-9)).all()
    assert after.sum() < 0.8 * before.sum()
    power = np.square(given @ rows.T).mean(axis=0).sum()
    assert found.nearest == pytest.approx(before.sum() / power)
    assert found.error == pytest.approx(after.sum() / power)


def test_it_comes_near_the_best_of_all_roundings_up_or_down() -> None:
    given = inputs(LENGTH)
    ratios = []
    for seed in range(10):
        rows, scales = weights(LENGTH, seed=seed)
        found = gptq(rows, scales, moment(given), INT8)
        assert found is not None
        floors = np.floor(rows / scales[:, None])
        every = [
            squared_error(rows, floors + up, scales, given)
            for up in itertools.product((0.0, 1.0), repeat=LENGTH)
        ]
        best = np.min(every, axis=0).sum()
        ratios.append(squared_error(rows, found.numbers, scales, given).sum() / best)
    assert np.mean(ratios) < 1.2
    assert max(ratios) < 1.6


def test_numbers_lie_on_the_grid_and_saturate_there() -> None:
    given = inputs(LENGTH)
    rows, scales = weights(LENGTH)
    found = gptq(rows, scales * STEPS / 200, moment(given), INT8)  # a range that cuts weights
    assert found is not None
    assert found.numbers.dtype == np.int8
    assert np.abs(found.numbers.astype(int)).max() == INT8.limit


def test_fp8_numbers_are_found_too() -> None:
    given = inputs(LENGTH)
    rows, scales = weights(LENGTH)
    scales = scales * STEPS / FP8.limit
    found = gptq(rows, scales, moment(given), FP8)
    assert found is not None
    assert FP8.holds(found.numbers.astype(np.float64)).all()
    assert found.error <= found.nearest


def test_without_correlation_the_nearest_numbers_are_the_best() -> None:
    rows, scales = weights(LENGTH)
    found = gptq(rows, scales, np.diag(np.arange(1.0, LENGTH + 1)), INT8)
    assert found is not None
    np.testing.assert_array_equal(found.numbers, INT8.rounded(rows / scales[:, None]))


def test_weights_that_are_on_the_grid_stay() -> None:
    given = inputs(LENGTH)
    numbers = np.random.default_rng(0).integers(-127, 128, (4, LENGTH))
    found = gptq(numbers * 0.25, np.full(4, 0.25), moment(given), INT8)
    assert found is not None
    np.testing.assert_array_equal(found.numbers, numbers)
    assert (found.nearest, found.error) == (0, 0)


@pytest.mark.parametrize("dead", [slice(0, 3), slice(0, LENGTH)])
def test_inputs_that_are_always_zero_and_zero_channels_do_no_harm(dead: slice) -> None:
    given = inputs(LENGTH)
    given[:, dead] = 0
    rows, scales = weights(LENGTH)
    rows[0] = 0
    found = gptq(rows, scales, moment(given), INT8)
    assert found is not None
    assert not found.numbers[0].any()
    nearest = INT8.rounded(rows / scales[:, None])
    np.testing.assert_array_equal(found.numbers[:, dead], nearest[:, dead])


def test_fewer_inputs_than_weights_are_damped() -> None:
    given = inputs(200, count=5)
    rows, scales = weights(200)
    found = gptq(rows, scales, moment(given), INT8)
    assert found is not None
    assert found.damping == 0.01
    assert found.error < found.nearest


def test_a_matrix_that_is_hardly_one_of_moments_is_damped_more() -> None:
    rows, scales = weights(2)
    found = gptq(rows, scales, np.array([[1.0, 1.05], [1.05, 1.0]]), INT8)
    assert found is not None
    assert found.damping == 0.1


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 9.0])
def test_a_matrix_that_is_none_of_moments_is_refused(wrong: float) -> None:
    rows, scales = weights(2)
    assert gptq(rows, scales, np.array([[1.0, wrong], [wrong, 1.0]]), INT8) is None


def test_the_same_numbers_come_each_time() -> None:
    given = inputs(100)
    rows, scales = weights(100)
    first, second = (gptq(rows, scales, moment(given), INT8) for _ in range(2))
    assert first is not None
    assert second is not None
    np.testing.assert_array_equal(first.numbers, second.numbers)
