"""Measures of classifiers in pure NumPy: no models run here.

scores: agreement and errors of two sets of scores; intervals: how sure a number is; multilabel: mAP
and F1; accuracy: all of it against labels.
"""

from tresnet_deploy.metrics.accuracy import Truth, accuracy, targets_of, usable
from tresnet_deploy.metrics.intervals import (
    CONFIDENCE,
    chance_count,
    mcnemar,
    paired_drop,
    wilson,
)
from tresnet_deploy.metrics.multilabel import (
    F1,
    F1_THRESHOLD,
    average_precision,
    f1,
    mean_ap_drop,
    mean_ap_interval,
    mean_average_precision,
)
from tresnet_deploy.metrics.scores import (
    TOP,
    Flags,
    Floats,
    Integers,
    best,
    comparable_logits,
    correct,
    cosine,
    decisions,
    logits,
    margins,
    nothing,
    overlap,
    probabilities,
    sigmoid,
    snr_db,
    softmax,
    spread,
    top_k,
)

__all__ = [
    "CONFIDENCE",
    "F1",
    "F1_THRESHOLD",
    "TOP",
    "Flags",
    "Floats",
    "Integers",
    "Truth",
    "accuracy",
    "average_precision",
    "best",
    "chance_count",
    "comparable_logits",
    "correct",
    "cosine",
    "decisions",
    "f1",
    "logits",
    "margins",
    "mcnemar",
    "mean_ap_drop",
    "mean_ap_interval",
    "mean_average_precision",
    "nothing",
    "overlap",
    "paired_drop",
    "probabilities",
    "sigmoid",
    "snr_db",
    "softmax",
    "spread",
    "targets_of",
    "top_k",
    "usable",
    "wilson",
]
