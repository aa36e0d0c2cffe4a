"""Measures of classifiers in pure NumPy; this file is about comparing scores, not running models.

``scores`` are (N, C): N images, C classes, logits or probabilities. Every order of classes is
deterministic: where scores tie, the lower class index comes first, as ``argmax`` has it. So an
engine that answers a constant is right for one class only.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

from tresnet_deploy.contracts import Array
from tresnet_deploy.results import Interval

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

TOP: Final = 5  # "top-5" is what ImageNet tables report beside top-1 (Russakovsky et al., 2015)
CONFIDENCE: Final = 0.95
_Z: Final = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


def top_k(scores: Array, k: int) -> Integers:
    """Return the (N, min(k, C)) indices of the best classes, best first, ties by class index."""
    return np.argsort(-_wide(scores), axis=1, kind="stable")[:, :k]


def correct(scores: Array, labels: Integers, *, k: int = 1) -> Flags:
    """Return (N,) whether ``labels`` (N,) is among the best ``k`` classes, ties by class index."""
    wide = _wide(scores)
    own = np.take_along_axis(wide, labels[:, None], axis=1)  # (N, 1)
    tied_before = (wide == own) & (np.arange(wide.shape[1]) < labels[:, None])
    rank = ((wide > own) | tied_before).sum(axis=1)
    return np.asarray(rank < k)


def overlap(reference: Array, candidate: Array, *, k: int = TOP) -> Floats:
    """Return (N,) the share of the reference's best ``k`` classes that the candidate's hold too."""
    ours, theirs = top_k(reference, k), top_k(candidate, k)
    shared = (ours[:, :, None] == theirs[:, None, :]).any(axis=2)
    return np.asarray(shared.mean(axis=1))


def margins(scores: Array) -> Floats:
    """Return (N,) the lead of the best class over the second; zeros when there is one class."""
    wide = _wide(scores)
    if wide.shape[1] == 1:
        return np.zeros(len(wide))
    best = np.partition(wide, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0])


def spread(scores: Array) -> float:
    """Return the standard deviation of scores over classes, root mean square over images.

    The yardstick for errors and margins: it does not depend on how a network scales its logits.
    """
    return float(np.sqrt(_wide(scores).var(axis=1).mean()))


def cosine(reference: Array, candidate: Array) -> Floats:
    """Return (N,) the cosine of each image's score vectors; two zero vectors have cosine 1."""
    ours, theirs = _wide(reference), _wide(candidate)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    dots = (ours * theirs).sum(axis=1)
    same = (ours == theirs).all(axis=1)
    cosines = np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)
    return np.where(same, 1.0, np.clip(cosines, -1.0, 1.0))


def snr_db(reference: Array, candidate: Array) -> float | None:
    """Return 10 log10(sum r^2 / sum (r - c)^2) over all scores; None when there is no difference.

    The same ratio as Polygraphy's ``SnrCompareFunc``, over all images at once.
    """
    ours = _wide(reference)
    noise = float(((ours - _wide(candidate)) ** 2).sum())
    signal = float((ours**2).sum())
    if noise == 0 or signal == 0:
        return None
    return 10 * math.log10(signal / noise)


def softmax(logits: Array) -> Floats:
    """Return (N, C) probabilities that sum to 1 for each image."""
    wide = _wide(logits)
    powers = np.exp(wide - wide.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def sigmoid(logits: Array) -> Floats:
    """Return (N, C) independent probabilities; no overflow for large logits of either sign."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * _wide(logits))))


def wilson(successes: int, trials: int) -> Interval:
    """Return the 95 % score interval of a share (Wilson, JASA 22, 1927; best for small samples)."""
    if trials == 0:
        return Interval(low=0.0, high=1.0)
    share, z2n = successes / trials, _Z**2 / trials
    centre = (share + z2n / 2) / (1 + z2n)
    half = _Z * math.sqrt(share * (1 - share) / trials + z2n / (4 * trials)) / (1 + z2n)
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    return Interval(low=low, high=1.0 if successes == trials else min(1.0, centre + half))


def paired_drop(reference: Flags, candidate: Flags) -> tuple[float, Interval]:
    """Return how much less often the candidate is right on the same images, and its 95 % interval.

    With b images only the reference has right and c only the candidate, the drop is (b - c) / n.
    The interval is Bonett and Price's (2012), Wald's with one added to b and c, which Fagerland,
    Lydersen and Laake (Statistics in Medicine 33, 2014) recommend for paired shares of any size.
    """
    images = len(reference)
    lost = int((reference & ~candidate).sum())
    gained = int((candidate & ~reference).sum())
    down, up = (lost + 1) / (images + 2), (gained + 1) / (images + 2)
    half = _Z * math.sqrt((down + up - (down - up) ** 2) / (images + 2))
    interval = Interval(low=max(-1.0, down - up - half), high=min(1.0, down - up + half))
    return ((lost - gained) / images if images else 0.0), interval


def mcnemar(reference: Flags, candidate: Flags) -> float:
    """Return the exact two-sided p-value that both are right equally often (McNemar, 1947)."""
    lost = int((reference & ~candidate).sum())
    changed = lost + int((candidate & ~reference).sum())
    tail = sum(math.comb(changed, i) for i in range(min(lost, changed - lost) + 1))
    return min(1.0, 2 * tail / (1 << changed))


def chance_count(trials: int, share: float, *, level: float = CONFIDENCE) -> int:
    """Return the most events to expect in ``trials`` of chance ``share``: the binomial quantile."""
    if share <= 0:
        return 0
    if share >= 1:
        return trials
    log_odds = math.log(share) - math.log1p(-share)
    log_chance = trials * math.log1p(-share)
    total, count = math.exp(log_chance), 0
    while total < level and count < trials:
        log_chance += math.log((trials - count) / (count + 1)) + log_odds
        count += 1
        total += math.exp(log_chance)
    return count


def _wide(scores: Array) -> Floats:
    return np.asarray(scores, dtype=np.float64)
