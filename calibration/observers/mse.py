"""The range with the smallest expected squared error of rounding and saturating together.

For a range amax the step is ``s = amax / 127``. A value v below amax is off by about ``s**2 / 12``
(or by ``v**2`` where it is below half a step and becomes 0), one beyond it by ``(v - amax)**2``.
Candidates are the upper edges of 1 to 128 equal parts of what was seen.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tresnet_deploy.contracts import Array

from ..histogram import Histogram, Values

_LEVELS: Final = 127  # symmetric int8 without -128
_CANDIDATES: Final = 128  # their step, 0.8 % of the range, moves the error by well under 1 %
_ROUNDING: Final = 12  # a uniform error of width s has the variance s**2 / 12


class Observer:
    """Counts values, then weighs both errors for each candidate."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._histogram = Histogram()

    def update(self, values: Array) -> None:
        """See ``values``."""
        self._histogram.update(values)

    def range(self) -> float:
        """Return the best candidate."""
        histogram = self._histogram
        if not histogram.largest:
            return 0.0
        used = histogram.counts > 0
        counts = histogram.counts[used].astype(np.float64)
        centers = histogram.centers[used]
        candidates = histogram.largest * (np.arange(_CANDIDATES) + 1) / _CANDIDATES
        errors = [float(counts @ squared_error(centers, amax)) for amax in candidates]
        return float(candidates[int(np.argmin(errors))])


def squared_error(values: Values, amax: float) -> Values:
    """Return the expected squared error of each of ``values`` (not negative) in INT8."""
    step = amax / _LEVELS
    rounding = np.where(values < step / 2, values**2, step**2 / _ROUNDING)
    return np.asarray(np.where(values > amax, (values - amax) ** 2, rounding))
