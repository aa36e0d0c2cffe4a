"""Counts of absolute values in bins whose edges never depend on the order of the data.

A histogram of ``BINS`` equal bins reaches from 0 to a power of two. When a larger value arrives the
reach doubles and pairs of bins merge, as often as needed. Every edge is a multiple of a power of
two, so multiplying by the reciprocal bin width is exact, merged bins are the bins that a wider
histogram would have counted, and the result is the same whichever image came first. Memory is
fixed: 32 KiB a tensor.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from tresnet_deploy.contracts import Array

BINS: Final = 4096  # at least half of them lie below the largest value: the 2048 TensorRT used
_CHUNK: Final = 1 << 16  # elements worked on at once: 256 KiB of float32, within a core's cache
_SMALLEST_REACH: Final = 2.0**-100  # below any activation; its reciprocal bin width is still finite

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


class Histogram:
    """A histogram of ``|x|``; ``counts[i]`` is the number of values in ``[i, i + 1) * width``."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self.counts: Counts = np.zeros(BINS, np.int64)
        self.reach = _SMALLEST_REACH
        self.largest = 0.0

    @property
    def width(self) -> float:
        """The width of one bin."""
        return self.reach / BINS

    @property
    def centers(self) -> Values:
        """The middle of each bin."""
        return np.asarray((np.arange(BINS) + 1 / 2) * self.width)

    def update(self, values: Array) -> None:
        """Count ``values``, finite float32 of any shape, each exactly once."""
        flat = values.reshape(-1)
        if not flat.size:
            return
        largest = max(float(flat.max()), -float(flat.min()))
        self.largest = max(self.largest, largest)
        self._widen(largest)
        room = np.empty(min(flat.size, _CHUNK), np.float32)
        for start in range(0, flat.size, _CHUNK):
            part = flat[start : start + _CHUNK]
            scaled = room[: part.size]
            np.abs(part, out=scaled)
            np.multiply(scaled, np.float32(1 / self.width), out=scaled)
            self.counts += np.bincount(scaled.astype(np.intp), minlength=BINS)

    def _widen(self, largest: float) -> None:
        """Double the reach until ``largest`` lies inside; a power of two itself lies outside."""
        if largest < self.reach:
            return
        _, exponent = math.frexp(largest)  # largest < 2**exponent
        merged = int(min(2.0**exponent / self.reach, BINS))
        counts = self.counts.reshape(-1, merged).sum(axis=1)
        self.counts = np.zeros(BINS, np.int64)
        self.counts[: counts.size] = counts
        self.reach = 2.0**exponent
