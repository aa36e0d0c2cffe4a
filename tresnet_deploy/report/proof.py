"""The proof part: where accuracy went, stage by stage, and which images changed class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tresnet_deploy.metrics import wilson
from tresnet_deploy.parity import told
from tresnet_deploy.report.axes import Axis, logarithmic, symmetric
from tresnet_deploy.report.charts import Chart, ChartRow, Dot, Kind
from tresnet_deploy.report.data import ReportData
from tresnet_deploy.report.thumbnails import thumbnail
from tresnet_deploy.report.words import (
    noise,
    noise_of,
    percent,
    points,
    points_span,
    significant,
)
from tresnet_deploy.results import Accuracy, Flip, Gate, Interval, StageParity

SHOWN_FLIPS: Final = 12  # two rows on a desktop; all of them are in parity.json
_LEAST_NOISE: Final = 1e-8  # below float32's own resolution of 6e-8
_MOST_NOISE: Final = 1.0
_REACH: Final = 0.01  # one point: an axis of hundredths of a point would show nothing but dots


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """One gate in words."""

    stage: str
    name: str
    value: str
    bound: str
    passed: bool
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FlipView:
    """An image that changed class; ``picture`` is a data URI, empty when it cannot be read."""

    image: str
    picture: str
    reference: str
    candidate: str
    label: str
    margin: str
    outcome: str


def stage_chart(data: ReportData) -> Chart | None:
    """Return each stage's error as a share of the scores, None without a comparison."""
    if data.parity is None:
        return None
    axis = logarithmic(_LEAST_NOISE * 100, _MOST_NOISE * 100, unit=" %")
    return Chart(
        title="Where accuracy went",
        lead=(
            f"Each stage against {data.parity.reference}, on the same {data.parity.images:,} "
            "images. The error is the root mean square difference of all scores over their own "
            "size: 10⁻⁵ % is rounding, 100 % is noise."
        ),
        plot_head="error, logarithmic: left is closer",
        heads=("error", "worst cosine", "same top-1", "flips", "gates"),
        axis=axis,
        rows=tuple(_stage_row(stage, data, axis) for stage in data.parity.stages),
    )


def _kind(stage: StageParity, data: ReportData) -> Kind:
    if not stage.passed:
        return "failed"
    return "subject" if data.is_subject(stage) else "engine"


def _stage_row(stage: StageParity, data: ReportData, axis: Axis) -> ChartRow:
    share = noise_of(stage.snr_db)
    at = axis.at(share * 100)
    failed = sum(not gate.passed for gate in stage.gates)
    verdict = f"{failed} failed" if failed else f"{len(stage.gates)} passed"
    return ChartRow(
        name=stage.stage,
        kind=_kind(stage, data),
        badge="failed" if failed else "",
        values=(
            noise(share),
            f"{stage.cosine_min:.4f}",
            percent(stage.top1_agreement),
            f"{len(stage.flips):,}",
            verdict if stage.gates else "none",
        ),
        dot=Dot(at=at, low=at, high=at, stem=True),
        said=f"{stage.stage}: error {noise(share)}, {percent(stage.top1_agreement)} same top-1",
    )


def accuracy_chart(data: ReportData) -> Chart | None:
    """Return each stage's change of accuracy, None without labels."""
    if data.parity is None or data.parity.reference_accuracy is None:
        return None
    reference = data.parity.reference_accuracy
    labelled = [(s, s.accuracy) for s in data.parity.stages if s.accuracy is not None]
    changes = [change for _, accuracy in labelled for change in _ends(accuracy)]
    axis = symmetric(100 * max([_REACH, *(abs(change) for change in changes)]))
    name = "mAP" if reference.mean_ap is not None else "top-1"
    return Chart(
        title=f"Accuracy on {reference.images:,} labelled images",
        lead=(
            f"The original model has {name} {_with_interval(reference)}. The change is measured "
            "on the same images, so its interval is narrower than those of the two accuracies. "
            "An interval that crosses zero is no proof of any change."
        ),
        plot_head=f"change of {name} in points, 95 % interval",
        heads=(name, "change", "95 % interval"),
        axis=axis,
        rows=tuple(_change_row(stage, accuracy, data, axis) for stage, accuracy in labelled),
        reference=axis.at(0.0),
    )


def _ends(accuracy: Accuracy) -> tuple[float, ...]:
    """Return the changes that the axis has to reach."""
    if accuracy.drop is None:
        return ()
    if accuracy.drop_interval is None:
        return (-accuracy.drop,)
    return (-accuracy.drop, -accuracy.drop_interval.low, -accuracy.drop_interval.high)


def change_of(accuracy: Accuracy) -> tuple[float, Interval | None]:
    """Return the change (gain positive) and its interval, from a drop (loss positive)."""
    drop, interval = accuracy.drop or 0.0, accuracy.drop_interval
    return -drop, Interval(low=-interval.high, high=-interval.low) if interval else None


def _with_interval(accuracy: Accuracy) -> str:
    share = accuracy.headline or 0.0
    interval = accuracy.interval
    if interval is None and accuracy.mean_ap is None:
        interval = wilson(round(share * accuracy.images), accuracy.images)
    if interval is None:
        return percent(share)
    return f"{percent(share)} (95 % {percent(interval.low, 1)} to {percent(interval.high, 1)})"


def _change_row(stage: StageParity, accuracy: Accuracy, data: ReportData, axis: Axis) -> ChartRow:
    change, interval = change_of(accuracy)
    low, high = (interval.low, interval.high) if interval else (change, change)
    return ChartRow(
        name=stage.stage,
        kind=_kind(stage, data),
        badge="" if stage.passed else "failed",
        values=(
            percent(accuracy.headline or 0.0),
            points(change),
            points_span(interval) if interval else "–",
        ),
        dot=Dot(at=axis.at(100 * change), low=axis.at(100 * low), high=axis.at(100 * high)),
        said=f"{stage.stage}: {points(change)} points",
    )


def gates(data: ReportData) -> tuple[GateView, ...]:
    """Return the gates of all stages, failed ones first."""
    stages = data.parity.stages if data.parity else ()
    pairs = [(stage, gate) for stage in stages for gate in stage.gates]
    pairs.sort(key=lambda pair: pair[1].passed)
    return tuple(_gate(stage, gate) for stage, gate in pairs)


def _gate(stage: StageParity, gate: Gate) -> GateView:
    value, bound = told(gate)
    return GateView(
        stage=stage.stage,
        name=gate.name,
        value=value,
        bound=bound,
        passed=gate.passed,
        why=gate.why,
    )


def flips(data: ReportData) -> tuple[FlipView, ...]:
    """Return the subject's flipped images, those that the original was surest of first."""
    stage = data.stage
    found = sorted(stage.flips if stage else (), key=lambda flip: -flip.margin)
    return tuple(_flip(flip, data) for flip in found[:SHOWN_FLIPS])


def _flip(flip: Flip, data: ReportData) -> FlipView:
    path = data.images.get(flip.image)
    return FlipView(
        image=flip.image,
        picture=thumbnail(path) if path else "",
        reference=flip.reference,
        candidate=flip.candidate,
        label=flip.label or "",
        margin=significant(flip.margin),
        outcome=flip.outcome or "",
    )
