"""Where a channel of weights saturates: at its largest one, or where the squared error is least."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tresnet_deploy.precision.grids import Grid

WeightRange = Literal["max", "mse"]

Rows = npt.NDArray[np.float64]

# Parts of the largest weight that a range may end at: with 8 bits less has never paid.
_CLIPS: Final = tuple(part / 64 for part in range(64, 39, -1))


def least_error(rows: Rows, scales: Rows, grid: Grid) -> Rows:
    """Return, for each of ``rows`` (C, n), the part of its step ``scales`` (C,) that errs least."""
    best = scales.copy()
    least = np.full(len(rows), np.inf)
    for clip in _CLIPS:
        steps = scales * clip
        kept = grid.rounded(rows / steps[:, None]).astype(np.float64) * steps[:, None]
        error = np.square(kept - rows).sum(axis=1)
        best = np.where(error < least, steps, best)
        least = np.minimum(error, least)
    return best
