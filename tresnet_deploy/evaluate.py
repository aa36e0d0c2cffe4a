"""Accuracy of one model on labelled images; torch is not needed, and images are streamed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tresnet_deploy import metrics
from tresnet_deploy.contracts import Array, Artifact, Labels, Progress, Session, no_progress
from tresnet_deploy.errors import ImageError
from tresnet_deploy.images import ImageSet, batches
from tresnet_deploy.results import Accuracy, ClassAccuracy, Confusion, EvaluationReport
from tresnet_deploy.scoring import preferred_batch, scores_of

MOST_CONFUSIONS: Final = 100
"""Kept in the report; the number of pairs grows with the square of the classes."""
_NO_ANSWER: Final = -1
"""What is counted in place of a class for an image that is answered with NaN."""


def evaluate(
    session: Session,
    artifact: Artifact,
    images: ImageSet,
    *,
    batch: int | None = None,
    threshold: float = metrics.F1_THRESHOLD,
    seed: int = 0,
    strict: bool = False,
    progress: Progress = no_progress,
) -> EvaluationReport:
    """Return top-1 and top-5, or mAP, CF1 and OF1, of ``session`` on ``images``.

    Memory does not grow with the images where each shows one class. mAP needs every score, 4 bytes
    for each image and class. ``batch`` None runs as many images together as the model prefers.

    Raises:
        ImageError: the images have no labels of the model's kind, none is readable, or one is not
            and ``strict`` is True.
        RunError: the runtime fails.
    """
    labels = artifact.labels
    if not len(metrics.usable([file.labels for file in images.files], labels)):
        raise _no_labels(images, labels)
    tally = _SeveralLabels(labels, threshold, seed) if labels.multi_label else _OneLabel()
    size = batch or preferred_batch(session, artifact.batch)
    skipped: list[str] = []
    begin = time.perf_counter()
    for loaded in batches(images, artifact.preprocess, size, strict=strict, progress=progress):
        skipped.extend(f"{images.name_of(s.file)} {s.reason}" for s in loaded.skipped)
        rows = metrics.usable([file.labels for file in loaded.files], labels)
        if len(rows):
            scores = scores_of(session, loaded.array[rows], batch=artifact.batch)
            tally.add(scores, [loaded.files[row].labels or () for row in rows.tolist()])
    seconds = time.perf_counter() - begin
    accuracy = tally.accuracy()
    if accuracy is None:
        raise _no_labels(images, labels)
    return _report(artifact, images, tally, accuracy, skipped=tuple(skipped), seconds=seconds)


@dataclass(slots=True)
class _OneLabel:
    """Counts over images that show one class each."""

    broken: int = 0
    right: int = 0
    right_in_five: int = 0
    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)

    def add(self, scores: Array, truth: list[tuple[int, ...]]) -> None:
        """Count a batch: ``scores`` (N, C) and the class of each image."""
        shown = np.array([classes[0] for classes in truth])
        broken = _broken(scores)
        self.broken += int(broken.sum())
        self.right += int(metrics.correct(scores, shown).sum())
        self.right_in_five += int(metrics.correct(scores, shown, k=metrics.TOP).sum())
        answers = np.where(broken, _NO_ANSWER, metrics.best(scores))
        self.pairs.update(zip(shown.tolist(), answers.tolist(), strict=True))

    def accuracy(self) -> Accuracy:
        """Return top-1 with its interval, and top-5."""
        images = self.pairs.total()
        return Accuracy(
            images=images,
            top1=self.right / images,
            top5=self.right_in_five / images,
            interval=metrics.wilson(self.right, images),
        )

    def classes(self, names: tuple[str, ...]) -> Iterator[ClassAccuracy]:
        """Give recall and precision of each class that is shown or predicted."""
        shown: Counter[int] = Counter()
        predicted: Counter[int] = Counter()
        for (label, answer), images in self.pairs.items():
            shown[label] += images
            predicted[answer] += images
        for index in sorted((shown.keys() | predicted.keys()) - {_NO_ANSWER}):
            hits = self.pairs[index, index]
            yield ClassAccuracy(
                name=_name(index, names),
                images=shown[index],
                predicted=predicted[index],
                recall=hits / shown[index] if shown[index] else None,
                precision=hits / predicted[index] if predicted[index] else None,
            )

    def confusions(self, names: tuple[str, ...]) -> Iterator[Confusion]:
        """Give pairs of classes that are taken for one another, the commonest first."""
        wrong = Counter({pair: n for pair, n in self.pairs.items() if pair[0] != pair[1]})
        for (label, answer), images in wrong.most_common(MOST_CONFUSIONS):
            yield Confusion(
                label=_name(label, names), predicted=_name(answer, names), images=images
            )


@dataclass(slots=True)
class _SeveralLabels:
    """All scores of images that may show several classes each."""

    labels: Labels
    threshold: float
    seed: int
    broken: int = 0
    parts: list[Array] = field(default_factory=list)
    truth: list[tuple[int, ...]] = field(default_factory=list)

    def add(self, scores: Array, truth: list[tuple[int, ...]]) -> None:
        """Keep a batch; an image answered with NaN counts as one without any class."""
        self.broken += int(_broken(scores).sum())
        nothing = np.float32(metrics.nothing(self.labels))
        self.parts.append(np.where(np.isnan(scores), nothing, scores))
        self.truth.extend(truth)

    def accuracy(self) -> Accuracy | None:
        """Return mAP with its interval, CF1 and OF1; None where no image shows a class."""
        return metrics.accuracy(
            np.concatenate(self.parts),
            self.truth,
            self.labels,
            threshold=self.threshold,
            seed=self.seed,
        )

    def classes(self, names: tuple[str, ...]) -> Iterator[ClassAccuracy]:
        """Give average precision, and recall and precision at the threshold, of each class."""
        scores = np.concatenate(self.parts)
        chosen = metrics.probabilities(scores, self.labels) >= self.threshold
        targets = metrics.targets_of(self.truth, scores.shape[1])
        once = np.ones((1, len(scores)))
        for index in np.flatnonzero((targets | chosen).any(axis=0)).tolist():
            shown, predicted = int(targets[:, index].sum()), int(chosen[:, index].sum())
            hits = int((targets & chosen)[:, index].sum())
            yield ClassAccuracy(
                name=_name(index, names),
                images=shown,
                predicted=predicted,
                recall=hits / shown if shown else None,
                precision=hits / predicted if predicted else None,
                average_precision=float(
                    metrics.average_precision(scores[:, index], targets[:, index], once)[0]
                )
                if shown
                else None,
            )

    def confusions(self, _names: tuple[str, ...]) -> Iterator[Confusion]:
        """Give nothing: with several labels, one class is not taken for another."""
        return iter(())


def _report(
    artifact: Artifact,
    images: ImageSet,
    tally: _OneLabel | _SeveralLabels,
    accuracy: Accuracy,
    *,
    skipped: tuple[str, ...],
    seconds: float,
) -> EvaluationReport:
    names = images.class_names or artifact.labels.names
    unlabelled = len(images) - len(skipped) - accuracy.images
    return EvaluationReport(
        file=artifact.path.name,
        sha256=artifact.sha256,
        architecture=artifact.architecture,
        precision=artifact.precision,
        backend=artifact.backend or artifact.kind,
        image_source=images.source,
        accuracy=accuracy,
        classes=tuple(tally.classes(names)),
        confusions=tuple(tally.confusions(names)),
        images_per_s=accuracy.images / seconds,
        skipped=skipped,
        notes=(*images.notes, *_notes(tally.broken, unlabelled)),
    )


def _broken(scores: Array) -> metrics.Flags:
    return np.asarray(np.isnan(scores).any(axis=1))


def _name(index: int, names: tuple[str, ...]) -> str:
    if index == _NO_ANSWER:
        return "NaN"
    return names[index] if index < len(names) else str(index)


def _no_labels(images: ImageSet, labels: Labels) -> ImageError:
    kind = "the classes that each shows" if labels.multi_label else "the one class that each shows"
    return ImageError(
        f"accuracy needs images with {kind}, and {images.source} come without",
        hints=(
            "--images DIR with a folder for each class",
            "--images DIR with DIR/labels.csv: FILE,CLASS[,CLASS...]",
            "--images val2017 with annotations/instances_val2017.json beside it, as COCO has them",
        ),
    )


def _notes(broken: int, unlabelled: int) -> Iterator[str]:
    if broken:
        yield f"{broken} images are answered with NaN and count as wrong"
    if unlabelled:
        yield f"{unlabelled} images without a label of the model's kind are left out"
