"""The range that holds 99.99 % of the absolute values, as TensorRT's toolkits offer it.

Robust against single outliers whatever their size; blind to how much they matter.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tresnet_deploy.contracts import Array

from ..histogram import Histogram

PERCENTILE: Final = 99.99  # Wu et al. 2020 (arXiv 2004.09602), table 5: the best of three for CNNs


class Observer:
    """Counts values and reads the percentile off, exact to one bin."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._histogram = Histogram()

    def update(self, values: Array) -> None:
        """See ``values``."""
        self._histogram.update(values)

    def range(self) -> float:
        """Return the upper edge of the bin that the percentile falls into."""
        counts = self._histogram.counts
        below = np.cumsum(counts)
        wanted = PERCENTILE / 100 * below[-1]
        bin_index = int(np.searchsorted(below, wanted))
        return min((bin_index + 1) * self._histogram.width, self._histogram.largest)
