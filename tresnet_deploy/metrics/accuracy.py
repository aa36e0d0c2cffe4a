"""Accuracy of scores against the labels of images, alone or paired with a reference's.

One :class:`Accuracy` for both kinds of model: top-1 and top-5 where an image shows one class, mAP,
CF1 and OF1 where it may show several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tresnet_deploy.contracts import Array, Labels
from tresnet_deploy.metrics.intervals import mcnemar, paired_drop, wilson
from tresnet_deploy.metrics.multilabel import (
    F1,
    F1_THRESHOLD,
    f1,
    mean_ap_drop,
    mean_ap_interval,
    mean_average_precision,
)
from tresnet_deploy.metrics.scores import TOP, Flags, Integers, correct, probabilities
from tresnet_deploy.results import Accuracy

Truth = Sequence[tuple[int, ...] | None]
"""What each image shows, as class indices; None where nobody said."""


def usable(truth: Truth, labels: Labels) -> Integers:
    """Return the rows whose labels count: any for several labels, exactly one class otherwise."""
    rows = [
        row
        for row, classes in enumerate(truth)
        if classes is not None and (labels.multi_label or len(classes) == 1)
    ]
    return np.array(rows, dtype=np.int64)


def targets_of(truth: Truth, classes: int) -> Flags:
    """Return (N, C) True where an image shows a class; every image must be labelled."""
    targets = np.zeros((len(truth), classes), dtype=bool)
    for row, shown in enumerate(truth):
        targets[row, list(shown or ())] = True
    return targets


def accuracy(
    scores: Array,
    truth: Truth,
    labels: Labels,
    *,
    reference: Array | None = None,
    threshold: float = F1_THRESHOLD,
    seed: int = 0,
) -> Accuracy | None:
    """Return the accuracy of ``scores`` (N, C), with the paired drop below ``reference`` (N, C).

    None when no label counts, or, for several labels, when no image shows any class. ``threshold``
    is the probability from which CF1 and OF1 count a label; ``seed`` is the bootstrap's.
    """
    rows = usable(truth, labels)
    chosen = [tuple(truth[row] or ()) for row in rows.tolist()]
    theirs = None if reference is None else reference[rows]
    if labels.multi_label:
        targets = targets_of(chosen, scores.shape[1])
        if not targets.any():
            return None
        found = f1(probabilities(scores[rows], labels), targets, threshold=threshold)
        return _of_several_labels(scores[rows], targets, theirs, found, seed=seed)
    if not chosen:
        return None
    return _of_one_label(scores[rows], np.array([shown for (shown,) in chosen]), theirs)


def _of_one_label(scores: Array, classes: Integers, reference: Array | None) -> Accuracy:
    right = correct(scores, classes)
    found = Accuracy(
        images=len(classes),
        top1=float(right.mean()),
        top5=float(correct(scores, classes, k=TOP).mean()),
        interval=wilson(int(right.sum()), len(classes)),
    )
    if reference is None:
        return found
    theirs = correct(reference, classes)
    drop, interval = paired_drop(theirs, right)
    return replace(found, drop=drop, drop_interval=interval, drop_p=mcnemar(theirs, right))


def _of_several_labels(
    scores: Array, targets: Flags, reference: Array | None, of_labels: F1, *, seed: int
) -> Accuracy:
    found = Accuracy(
        images=len(targets),
        mean_ap=mean_average_precision(scores, targets),
        cf1=of_labels.per_class,
        of1=of_labels.overall,
        interval=mean_ap_interval(scores, targets, seed=seed),
    )
    if reference is None:
        return found
    drop, interval = mean_ap_drop(reference, scores, targets, seed=seed)
    return replace(found, drop=drop, drop_interval=interval)
