"""From the scores of a stage to its verdict: agreement, flips, accuracy, gates, and notes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tresnet_deploy import metrics
from tresnet_deploy.contracts import Array, Labels
from tresnet_deploy.metrics import Flags, Floats, Integers, Truth
from tresnet_deploy.parity.gates import Findings, Overrides, bounds_for, judge
from tresnet_deploy.parity.runs import Stage
from tresnet_deploy.results import Accuracy, Flip, FlipOutcome, StageParity

_FEW_CLEAR: Final = 0.5
"""Below this share of clear images a note says that agreement tells little."""
_ENOUGH_TO_VARY: Final = 10
"""From this many images on, one and the same answer for all of them deserves a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What all stages are judged by: the reference's scores (N, C), the images and their labels."""

    scores: Array
    names: tuple[str, ...]
    truth: Truth
    labels: Labels
    class_names: tuple[str, ...]
    overrides: Overrides = field(default_factory=Overrides)
    threshold: float = metrics.F1_THRESHOLD
    seed: int = 0

    @property
    def logits(self) -> Floats:
        """The reference's logits (N, C), whatever activation its scores went through."""
        return metrics.logits(self.scores, self.labels.activation)

    def accuracy(self, scores: Array | None = None) -> Accuracy | None:
        """Return the accuracy of a stage's ``scores``, or that of the reference itself."""
        return metrics.accuracy(
            self.scores if scores is None else scores,
            self.truth,
            self.labels,
            reference=None if scores is None else self.scores,
            threshold=self.threshold,
            seed=self.seed,
        )

    def decisions(self, scores: Array) -> Integers:
        """Return (N,) what ``scores`` say of each image."""
        return metrics.decisions(scores, self.labels.activation)

    def right(self, shown: tuple[int, ...]) -> tuple[int, ...]:
        """Return the decisions that are right of an image that shows the classes ``shown``."""
        return shown if self.scores.shape[1] > 1 else (int(0 in shown),)

    def said(self, decision: int) -> str:
        """Return a decision in words."""
        if self.scores.shape[1] > 1:
            return self.name_of(decision)
        return self.name_of(0) if decision else f"not {self.name_of(0)}"

    def name_of(self, index: int) -> str:
        """Return what class ``index`` is called."""
        return self.class_names[index] if index < len(self.class_names) else str(index)


def judge_stages(
    stages: Sequence[Stage],
    answers: Sequence[Array],
    ground: Ground,
    reference: Accuracy | None,
) -> tuple[StageParity, ...]:
    """Return everything that is known of ``stages``, which gave the scores ``answers``.

    ``reference`` is the accuracy of the reference itself, None without labels.
    """
    pairs = zip(stages, answers, strict=True)
    return tuple(_judge_stage(stage, scores, ground, reference) for stage, scores in pairs)


def _judge_stage(
    stage: Stage, answers: Array, ground: Ground, reference_accuracy: Accuracy | None
) -> StageParity:
    finite: Flags = np.asarray(np.isfinite(answers).all(axis=1))
    scores = np.where(finite[:, None], answers, np.float32(0))
    same = finite & (ground.decisions(ground.scores) == ground.decisions(scores))
    clear = _clear(stage, ground)
    wrong = np.float32(metrics.nothing(ground.labels) if ground.labels.multi_label else np.nan)
    errors = np.abs(scores - ground.scores)[finite]
    max_abs = float(errors.max(initial=0))
    findings = Findings(
        non_finite=int((~finite).sum()),
        relative_error=max_abs / (metrics.spread(ground.scores) or 1.0),
        cosine_min=float(np.where(finite, metrics.cosine(ground.scores, scores), 0.0).min()),
        top1_agreement=float(same.mean()),
        clear_images=int(clear.sum()),
        clear_flips=int((clear & ~same).sum()),
        accuracy=ground.accuracy(np.where(finite[:, None], answers, wrong)),
        reference_accuracy=reference_accuracy,
    )
    return StageParity(
        stage=stage.name,
        precision=stage.precision,
        file=stage.file,
        sha256=stage.sha256,
        max_abs=max_abs,
        mean_abs=float(errors.mean()) if finite.any() else 0.0,
        relative_error=findings.relative_error,
        cosine_min=findings.cosine_min,
        snr_db=metrics.snr_db(ground.scores[finite], scores[finite]) if finite.any() else 0.0,
        top1_agreement=findings.top1_agreement,
        top5_agreement=float((metrics.overlap(ground.scores, scores) * finite).mean()),
        agreement_interval=metrics.wilson(int(same.sum()), len(same)),
        non_finite=findings.non_finite,
        clear_images=findings.clear_images,
        clear_agreement=findings.clear_agreement,
        flips=_flips(scores, same, finite, ground),
        gates=judge(findings, stage.precision, ground.overrides),
        accuracy=findings.accuracy,
    )


def _clear(stage: Stage, ground: Ground) -> Flags:
    """Return (N,) which images the reference decides by more than the precision's noise."""
    floor = bounds_for(stage.precision, ground.overrides).clear_margin
    logits = ground.logits
    return np.asarray(metrics.margins(logits) > floor * metrics.spread(logits))


def _flips(scores: Array, same: Flags, finite: Flags, ground: Ground) -> tuple[Flip, ...]:
    """Return the images whose top-1 class changed, those that the reference was surest of first."""
    before, after = ground.decisions(ground.scores), ground.decisions(scores)
    margins = _margins(ground.logits, before, after)
    flips = []
    for row in np.flatnonzero(~same).tolist():
        own, chosen = int(before[row]), int(after[row])
        shown = ground.truth[row]
        right = ground.right(shown or ())
        flip = Flip(
            image=ground.names[row],
            reference=ground.said(own),
            candidate=ground.said(chosen) if finite[row] else "NaN or Inf",
            margin=float(margins[row]),
            label=None if shown is None else ", ".join(ground.name_of(index) for index in shown),
            outcome=None
            if shown is None
            else _outcome(own in right, finite[row] and chosen in right),
        )
        flips.append(flip)
    return tuple(sorted(flips, key=lambda flip: -flip.margin))


def _outcome(before: bool, after: bool) -> FlipOutcome:
    if before == after:
        return "right before and after" if before else "wrong before and after"
    return "now right" if after else "now wrong"


def _margins(logits: Floats, before: Integers, after: Integers) -> Floats:
    """Return (N,) the lead that the reference gave its own class over the candidate's."""
    if logits.shape[1] == 1:
        return metrics.margins(logits)
    rows = np.arange(len(logits))
    return np.asarray(logits[rows, before] - logits[rows, after])


def notes(ground: Ground, stages: tuple[StageParity, ...]) -> tuple[str, ...]:
    """Return what a reader of the report must know so as not to take it for more than it is."""
    return tuple(
        note
        for note in (
            _note_on_sameness(ground),
            _note_on_clearness(ground, stages[-1]),
            _note_on_labels(ground, stages[-1]),
            _note_on_resolution(stages[-1]),
        )
        if note
    )


def _note_on_sameness(ground: Ground) -> str:
    answers = set(ground.decisions(ground.scores).tolist())
    shown = {classes for classes in ground.truth if classes is not None}
    images = len(ground.scores)
    if images < _ENOUGH_TO_VARY or len(answers) > 1 or len(shown) == 1:
        return ""
    return (
        f"the reference gives all {images} images one class ({ground.said(answers.pop())}): "
        "are the weights trained, and is the preprocessing theirs?"
    )


def _note_on_clearness(ground: Ground, last: StageParity) -> str:
    images = len(ground.names)
    if last.clear_images >= _FEW_CLEAR * images:
        return ""
    judged = "is judged on the others" if last.clear_images else "is not judged"
    return (
        f"the reference leads by less than the noise of {last.precision} on "
        f"{images - last.clear_images} of {images} images, more than trained weights do: top-1 "
        f"agreement {judged}"
    )


def _note_on_labels(ground: Ground, last: StageParity) -> str:
    if last.accuracy is not None or all(classes is None for classes in ground.truth):
        return ""
    return "the labels of these images are not of the model's kind, so accuracy is not measured"


def _note_on_resolution(last: StageParity) -> str:
    found = last.accuracy
    if found is None or found.drop is None or found.drop_interval is None or not last.flips:
        return ""
    gate = next((gate for gate in last.gates if gate.name.startswith("drop")), None)
    if gate is None or not gate.passed or found.drop_interval.high <= gate.bound:
        return ""
    return (
        f"{found.images} labelled images cannot rule out a drop of {last.stage} by up to "
        f"{100 * found.drop_interval.high:.1f} %; more images narrow this"
    )
