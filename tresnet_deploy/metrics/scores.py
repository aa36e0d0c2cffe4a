"""Scores of classifiers, in pure NumPy: order of classes, agreement, leads and errors.

``scores`` are (N, C): N images, C classes, logits or probabilities. Every order of classes is
deterministic: where scores tie, the lower class index comes first, as ``argmax`` has it. So an
engine that answers a constant is right for one class only.

One output alone has no order and no direction: its class is shown or not, its margin and spread are
taken from 0, and its cosine is the one that an error of that size has among many classes.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from tresnet_deploy.contracts import Activation, Array, Labels

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]

TOP: Final = 5  # "top-5" is what ImageNet tables report beside top-1 (Russakovsky et al., 2015)


def top_k(scores: Array, k: int) -> Integers:
    """Return the (N, min(k, C)) indices of the best classes, best first, ties by class index."""
    return np.argsort(-_wide(scores), axis=1, kind="stable")[:, :k]


def best(scores: Array) -> Integers:
    """Return (N,) the class with the highest score, the lowest index where several have it."""
    return np.asarray(np.argmax(scores, axis=1), dtype=np.int64)


def decisions(scores: Array, activation: Activation = "none") -> Integers:
    """Return (N,) what a classifier says of each image: its best class.

    Of one output it is 1 where the class is likelier shown than not, else 0.
    """
    if scores.shape[1] > 1:
        return best(scores)
    return np.asarray(logits(scores, activation)[:, 0] > 0, dtype=np.int64)


def agreeing(reference: Array, candidate: Array, activation: Activation = "none") -> Flags:
    """Return (N,) whether both say the same of an image."""
    return np.asarray(decisions(reference, activation) == decisions(candidate, activation))


def correct(scores: Array, labels: Integers, *, k: int = 1) -> Flags:
    """Return (N,) whether ``labels`` (N,) is among the best ``k`` classes, ties by class index.

    An image whose scores hold a NaN is wrong.
    """
    wide = _wide(scores)
    own = np.take_along_axis(wide, labels[:, None], axis=1)  # (N, 1)
    tied_before = (wide == own) & (np.arange(wide.shape[1]) < labels[:, None])
    rank = ((wide > own) | tied_before).sum(axis=1)
    return np.asarray((rank < k) & ~np.isnan(wide).any(axis=1))


def overlap(reference: Array, candidate: Array, *, k: int = TOP) -> Floats:
    """Return (N,) the share of the reference's best ``k`` classes that the candidate's hold too."""
    ours, theirs = top_k(reference, k), top_k(candidate, k)
    shared = (ours[:, :, None] == theirs[:, None, :]).any(axis=2)
    return np.asarray(shared.mean(axis=1))


def margins(scores: Array) -> Floats:
    """Return (N,) the lead of the best class over the second; of one logit its distance from 0."""
    wide = _wide(scores)
    if wide.shape[1] == 1:
        return np.abs(wide[:, 0])
    best = np.partition(wide, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0])


def spread(scores: Array) -> float:
    """Return the standard deviation of scores over classes, root mean square over images.

    The yardstick for errors and margins: it does not depend on how a network scales its logits.
    """
    wide = _wide(scores)
    over_classes = wide.var(axis=1) if wide.shape[1] > 1 else wide[:, 0] ** 2
    return float(np.sqrt(over_classes.mean()))


def cosine(reference: Array, candidate: Array) -> Floats:
    """Return (N,) the cosine of each image's score vectors; two zero vectors have cosine 1.

    Unit vectors of cosine c are sqrt(2 (1 - c)) apart, which is what one output's error is held to,
    as a share of the reference's root mean square over images.
    """
    ours, theirs = _wide(reference), _wide(candidate)
    if ours.shape[1] == 1:
        errors = np.abs(ours - theirs)[:, 0] / (spread(ours) or 1.0)
        return np.asarray(1 - np.minimum(errors, 2.0) ** 2 / 2)
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


def comparable_logits(scores: Array, activation: Activation) -> Floats:
    """Return (N, C) logits to take errors of: softmax leaves them up to a constant an image."""
    found = logits(scores, activation)
    return found - found.mean(axis=1, keepdims=True) if activation == "softmax" else found


def logits_snr_db(reference: Array, candidate: Array, activation: Activation) -> float | None:
    """Return :func:`snr_db` of the logits behind scores that went through ``activation``."""
    return snr_db(
        comparable_logits(reference, activation), comparable_logits(candidate, activation)
    )


def nothing(labels: Labels) -> float:
    """Return the score that says of an image that it does not show a class."""
    return 0.0 if labels.activation != "none" else -math.inf


def probabilities(scores: Array, labels: Labels) -> Floats:
    """Return (N, C) probabilities of scores, which are logits unless the graph ends otherwise."""
    if labels.activation != "none":
        return _wide(scores)
    return sigmoid(scores) if labels.multi_label else softmax(scores)


def logits(scores: Array, activation: Activation) -> Floats:
    """Return (N, C) logits of scores that went through ``activation``, up to a constant an image.

    Leads and spreads of softmax outputs are then those of the logits. Probabilities that float32
    cannot tell from 0 or 1 come back as the nearest that it can.
    """
    wide = _wide(scores)
    if activation == "none":
        return wide
    tiny, almost_one = np.finfo(np.float32).tiny, 1 - np.finfo(np.float32).epsneg
    logarithms = np.log(np.maximum(wide, tiny))
    return (
        logarithms if activation == "softmax" else logarithms - np.log1p(-wide.clip(0, almost_one))
    )


def _wide(scores: Array) -> Floats:
    return np.asarray(scores, dtype=np.float64)
