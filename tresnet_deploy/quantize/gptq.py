"""GPTQ: rounding the weights of one layer so that its output errs least.

    error = mean of |W x - s Q x|^2 over inputs x = tr(D H D^T),   D = W - s Q,   H = mean of x x^T

Columns of W are rounded one after another, those with the largest inputs first. What a column errs
by is made good, as far as H allows, by the columns that are still to be rounded (Frantar et al.
2023, arXiv 2210.17323: optimal brain surgery for all rows at once). The steps s are given and stay.
A row for which rounding to the nearest errs less on the same H is rounded to the nearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tresnet_deploy.contracts import Array
from tresnet_deploy.precision.grids import Grid

WeightRounding = Literal["nearest", "gptq"]

Matrix = npt.NDArray[np.float64]

# Parts of H's mean diagonal that are added to it: the paper's, and more where H is too uncertain.
_DAMPINGS: Final = (0.01, 0.1, 1.0)
_BLOCK: Final = 64  # columns whose corrections reach the columns after them in one product


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounded:
    """Numbers of a grid (C, n), and what part of the output's power is error.

    ``nearest`` is that of rounding to the nearest, ``error`` that of ``numbers``, ``damping`` the
    part of the mean of H's diagonal that was added to it.
    """

    numbers: Array
    nearest: float
    error: float
    damping: float


def gptq(rows: Matrix, scales: Matrix, moment: Matrix, grid: Grid) -> Rounded | None:
    """Return ``rows`` (C, n) in steps of ``scales`` (C,) for inputs of ``moment`` H (n, n).

    None if H is not finite, or is no matrix of second moments.
    """
    if not np.isfinite(moment).all():
        return None
    order = np.argsort(-np.diag(moment), kind="stable")
    factor = _factor(moment[np.ix_(order, order)])
    if factor is None:
        return None
    upper, damping = factor
    steps = scales[:, None]
    nearest = grid.rounded(rows / steps)
    numbers = np.empty_like(nearest)
    numbers[:, order] = _rounded(rows[:, order], steps, upper, grid)
    before, after = (
        _errors(rows - steps * each.astype(np.float64), moment) for each in (nearest, numbers)
    )
    worse = after >= before
    numbers[worse] = nearest[worse]
    power = float(_errors(rows, moment).sum()) or 1.0
    return Rounded(
        numbers=numbers,
        nearest=float(before.sum()) / power,
        error=float(np.minimum(before, after).sum()) / power,
        damping=damping,
    )


def _factor(moment: Matrix) -> tuple[Matrix, float] | None:
    """Return the upper U with U^T U = (H + damping)^-1, and the damping, the least that works.

    H is damped in place: the largest of a network take some 250 MiB each.
    """
    diagonal = np.diag(moment).copy()
    mean = float(diagonal.mean()) or 1.0  # inputs that are 0 throughout: any will do
    for damping in _DAMPINGS:
        np.fill_diagonal(moment, diagonal + damping * mean)
        try:
            # H = L' L'^T with an upper L': Cholesky's factor of H with both axes turned around.
            lower = np.linalg.cholesky(moment[::-1, ::-1])
        except np.linalg.LinAlgError:
            continue
        return np.triu(np.linalg.inv(lower[::-1, ::-1])), damping
    return None


def _rounded(rows: Matrix, steps: Matrix, upper: Matrix, grid: Grid) -> Array:
    """Round the columns of ``rows`` in their order, each after what those before it left to it."""
    left = rows.copy()
    numbers = np.empty(rows.shape, grid.dtype.numpy())
    for start in range(0, rows.shape[1], _BLOCK):
        block = slice(start, min(start + _BLOCK, rows.shape[1]))
        errors = np.zeros((len(rows), block.stop - start))
        for column in range(start, block.stop):
            numbers[:, column] = grid.rounded(left[:, column : column + 1] / steps)[:, 0]
            kept = numbers[:, column].astype(np.float64) * steps[:, 0]
            error = (left[:, column] - kept) / upper[column, column]
            left[:, column : block.stop] -= np.outer(error, upper[column, column : block.stop])
            errors[:, column - start] = error
        left[:, block.stop :] -= errors @ upper[block, block.stop :]
    return numbers


def _errors(difference: Matrix, moment: Matrix) -> Matrix:
    """Return d H d^T for each row d."""
    return np.asarray(np.einsum("ij,ij->i", difference @ moment, difference))
