"""The range that keeps most information: the least Kullback-Leibler divergence, as TensorRT 8 did.

Candidate ranges hold the first i bins. The reference distribution P puts everything beyond into its
last bin; Q is what 128 levels can express of the first i bins: each level's mass spread evenly over
its bins that are not empty. The best i has the least D(P || Q), both smoothed.
Source: Migacz, "8-bit inference with TensorRT", GTC 2017, and NVIDIA's pytorch-quantization.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tresnet_deploy.contracts import Array

from ..histogram import BINS, Histogram, Values

_LEVELS: Final = 128  # absolute values of int8, as the source counts them
_COARSE: Final = 2  # bins are merged by twos: the source's 2048
_STRIDE: Final = 16  # candidates looked at: every 16th bin, 0.8 % of the range


class Observer:
    """Counts values, then measures the divergence for each candidate."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._histogram = Histogram()

    def update(self, values: Array) -> None:
        """See ``values``."""
        self._histogram.update(values)

    def range(self) -> float:
        """Return the best candidate's upper edge."""
        histogram = self._histogram
        if not histogram.largest:
            return 0.0
        counts = histogram.counts.reshape(BINS // _COARSE, _COARSE).sum(axis=1).astype(np.float64)
        counts[0] = counts[1]  # exact zeros, of which ReLU makes many, carry no information
        last = int(np.flatnonzero(counts)[-1]) + 1
        candidates = [last, *range(last - _STRIDE, _LEVELS - 1, -_STRIDE)]
        best = min(candidates, key=lambda size: divergence(counts, size))
        return min(float(best) * histogram.width * _COARSE, histogram.largest)


def divergence(counts: Values, size: int) -> float:
    """Return D(P || Q) in nats for the range that holds the first ``size`` bins."""
    inside = counts[:size]
    reference = inside.copy()
    reference[-1] += counts[size:].sum()
    level = np.arange(size) * _LEVELS // size
    filled = inside > 0
    mass = np.bincount(level, weights=inside, minlength=_LEVELS)
    shares = np.bincount(level, weights=filled, minlength=_LEVELS)
    expressed = np.where(filled, (mass / np.maximum(shares, 1))[level], 0.0)
    return _kullback_leibler(reference, expressed)


def _kullback_leibler(p: Values, q: Values) -> float:
    if not p.sum() or not q.sum():
        return float("inf")
    p, q = p / p.sum(), q / q.sum()
    seen = p > 0
    tiny = np.finfo(np.float64).tiny
    return float(np.sum(p[seen] * np.log(p[seen] / np.maximum(q[seen], tiny))))
