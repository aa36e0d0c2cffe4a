"""Accuracy of multi-label classifiers: mAP, CF1 and OF1, with bootstrap intervals over images.

``scores`` and ``targets`` are (N, C); a target is True where the image shows the class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from tresnet_deploy.contracts import Array
from tresnet_deploy.metrics.intervals import Z_95
from tresnet_deploy.metrics.scores import Flags, Floats
from tresnet_deploy.results import Interval

RESAMPLES: Final = 200  # enough for a standard error (Efron and Tibshirani, 1993, chapter 6)
_BLOCK: Final = 1 << 21  # numbers worked on at once: 16 MiB for each intermediate array
F1_THRESHOLD: Final = 0.5  # CF1/OF1 count a label from logit 0 on (ML-GCN, CVPR 2019, util.py)


@dataclass(frozen=True, slots=True, kw_only=True)
class F1:
    """CF1 averages precision and recall over classes, OF1 counts all decisions alike."""

    per_class: float
    overall: float


def average_precision(scores: Array, targets: Flags, weights: Floats) -> Floats:
    """Return (R,) the average precision of one class under each row of ``weights`` (R, N).

    The mean, over the positives, of the precision among all images scored at least as high: the
    definition of ASL's and COCO's classification mAP (ASL, helper_functions.py), except that tied
    scores share one precision, so that the order of the files cannot matter. ``scores`` and
    ``targets`` are (N,); a row without a positive gives NaN.
    """
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    ranked, hit = np.asarray(scores)[order], targets[order]
    last_of_tie = np.searchsorted(-ranked, -ranked, side="right") - 1  # (N,)
    counts = weights[:, order]  # (R, N)
    positives = np.cumsum(counts * hit, axis=1)
    seen = np.cumsum(counts, axis=1)[:, last_of_tie]
    precision = np.divide(positives[:, last_of_tie], seen, out=np.zeros_like(seen), where=seen > 0)
    total = positives[:, -1]
    gained = (counts * hit * precision).sum(axis=1)
    return np.asarray(np.divide(gained, total, out=np.full_like(total, np.nan), where=total > 0))


def mean_average_precision(scores: Array, targets: Flags) -> float:
    """Return mAP in fractions of 1, over the classes that any image shows.

    Raises:
        ValueError: no image shows any class.
    """
    return float(_mean_over_classes(_precisions(scores, targets, np.ones((1, len(targets)))))[0])


def mean_ap_interval(scores: Array, targets: Flags, *, seed: int = 0) -> Interval:
    """Return the 95 % interval of mAP, from its bootstrap standard error over images."""
    weights = _resampled(len(targets), seed)
    resampled = _mean_over_classes(_precisions(scores, targets, weights))
    found = _interval(mean_average_precision(scores, targets), resampled)
    return Interval(low=max(0.0, found.low), high=min(1.0, found.high))


def mean_ap_drop(
    reference: Array, candidate: Array, targets: Flags, *, seed: int = 0
) -> tuple[float, Interval]:
    """Return mAP of the reference less the candidate's, and its 95 % interval, paired.

    Each resample draws the same images for both, so that what the two have in common cancels.
    """
    drop = mean_average_precision(reference, targets) - mean_average_precision(candidate, targets)
    weights = _resampled(len(targets), seed)
    ours = _mean_over_classes(_precisions(reference, targets, weights))
    theirs = _mean_over_classes(_precisions(candidate, targets, weights))
    return drop, _interval(drop, ours - theirs)


def f1(probabilities: Array, targets: Flags, *, threshold: float = F1_THRESHOLD) -> F1:
    """Return CF1 and OF1 (ML-GCN, CVPR 2019) of the labels at or above ``threshold``.

    CF1 is the harmonic mean of the class means of precision and recall. Classes that no image
    shows have no recall and are left out; a class never predicted has precision 0.
    """
    chosen = np.asarray(probabilities) >= threshold
    hits = (chosen & targets).sum(axis=0)  # (C,)
    predicted, present = chosen.sum(axis=0), targets.sum(axis=0)
    shown = present > 0
    precision = (hits / np.maximum(predicted, 1))[shown]
    recall = (hits / np.maximum(present, 1))[shown]
    return F1(
        per_class=_harmonic(_mean(precision), _mean(recall)),
        overall=_harmonic(_share(hits.sum(), predicted.sum()), _share(hits.sum(), present.sum())),
    )


def _precisions(scores: Array, targets: Flags, weights: Floats) -> Floats:
    """Return (R, K) the average precision of the K classes that any image shows."""
    shown = np.flatnonzero(targets.any(axis=0))
    if not len(shown):
        raise ValueError("no image shows any class, so mean average precision is undefined")
    rows = max(1, _BLOCK // len(targets))
    blocks = [weights[start : start + rows] for start in range(0, len(weights), rows)]
    columns = [
        np.concatenate([average_precision(scores[:, c], targets[:, c], block) for block in blocks])
        for c in shown
    ]
    return np.stack(columns, axis=1)


def _mean_over_classes(precisions: Floats) -> Floats:
    """Return (R,) the mean over classes; one that a resample does not show is left out of it."""
    known = ~np.isnan(precisions)
    sums = np.where(known, precisions, 0.0).sum(axis=1)
    return np.asarray(sums / np.maximum(known.sum(axis=1), 1))


def _resampled(images: int, seed: int) -> Floats:
    """Return (RESAMPLES, N) how often each image is drawn, N draws with replacement."""
    draws = np.random.default_rng(seed)
    return draws.multinomial(images, np.full(images, 1 / images), size=RESAMPLES).astype(np.float64)


def _interval(value: float, resampled: Floats) -> Interval:
    half = Z_95 * float(resampled.std(ddof=1))
    return Interval(low=value - half, high=value + half)


def _mean(values: Floats) -> float:
    return float(values.mean()) if len(values) else 0.0


def _share(part: int, whole: int) -> float:
    return float(part) / float(whole) if whole else 0.0


def _harmonic(first: float, second: float) -> float:
    return 2 * first * second / (first + second) if first + second else 0.0
