"""What a model sees in images, by name; torch is not needed."""

from __future__ import annotations

from typing import Final

import numpy as np

from tresnet_deploy import metrics
from tresnet_deploy.contracts import Artifact, Progress, Session, no_progress
from tresnet_deploy.errors import RunError
from tresnet_deploy.images import ImageSet, batches
from tresnet_deploy.metrics import Floats
from tresnet_deploy.results import ClassScore, Prediction, PredictionReport
from tresnet_deploy.scoring import preferred_batch, scores_of

LABEL_THRESHOLD: Final = 0.7
"""From this probability on a label is named: the default of ASL's own infer.py."""


def predict(
    session: Session,
    artifact: Artifact,
    images: ImageSet,
    *,
    top: int | None = None,
    threshold: float | None = None,
    strict: bool = False,
    progress: Progress = no_progress,
) -> PredictionReport:
    """Return the classes of each image, best first.

    Of one label, the ``top`` best (default 5), those of at least ``threshold`` where one is given.
    Of several labels, all of at least ``threshold`` (default 0.7), at most ``top`` where given.

    Raises:
        ImageError: no image is readable, or one is not and ``strict`` is True.
        RunError: the runtime fails, or answers NaN.
    """
    several = artifact.labels.multi_label
    most = top or (artifact.labels.classes if several else metrics.TOP)
    least = (LABEL_THRESHOLD if several else 0.0) if threshold is None else threshold
    predictions: list[Prediction] = []
    skipped: list[str] = []
    size = preferred_batch(session, artifact.batch)
    for loaded in batches(images, artifact.preprocess, size, strict=strict, progress=progress):
        skipped.extend(f"{images.name_of(s.file)} {s.reason}" for s in loaded.skipped)
        scores = scores_of(session, loaded.array, batch=artifact.batch)
        probabilities = metrics.probabilities(scores, artifact.labels)
        for file, row in zip(loaded.files, probabilities, strict=True):
            name = images.name_of(file)
            if np.isnan(row).any():
                raise RunError(f"{artifact.path.name} answers {name} with NaN")
            predictions.append(
                Prediction(image=name, classes=_best(row, most, least, artifact.labels.names))
            )
    return PredictionReport(
        file=artifact.path.name,
        precision=artifact.precision,
        backend=artifact.backend or artifact.kind,
        multi_label=several,
        predictions=tuple(predictions),
        skipped=tuple(skipped),
    )


def _best(
    probabilities: Floats, most: int, least: float, names: tuple[str, ...]
) -> tuple[ClassScore, ...]:
    """Return the classes of one image, (C,) probabilities, that are to be named."""
    order = metrics.top_k(probabilities[None], most)[0].tolist()
    return tuple(
        ClassScore(
            index=index,
            name=names[index] if index < len(names) else str(index),
            probability=float(probabilities[index]),
        )
        for index in order
        if probabilities[index] >= least
    )
