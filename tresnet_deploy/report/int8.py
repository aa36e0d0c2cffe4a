"""The pages of INT8: which blocks lose accuracy, and what keeping them in float gives and costs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Final

from tresnet_deploy import __version__
from tresnet_deploy.int8_results import Effect, MixedReport, Mixture, SensitivityReport
from tresnet_deploy.report.axes import Axis, linear, signed
from tresnet_deploy.report.charts import Bar, Chart, ChartRow, Kind
from tresnet_deploy.report.pages import template
from tresnet_deploy.report.words import milliseconds, percent, points, significant

_HALF: Final = 0.5
_ROOM: Final = 1.05  # of an axis beyond the longest bar
_MARGIN: Final = 0.08  # of a scatter's range, left free around its points
_LEAST_RANGE: Final = 0.001  # a tenth of a percent: below that agreement is counted in images


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A mixture in a scatter, at percent of its width and height from the upper left."""

    x: float
    y: float
    kind: Kind
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A part of the line through the efficient points."""

    start: Point
    end: Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Accuracy against latency; ``bound`` is the height of what was asked for."""

    title: str
    lead: str
    x_head: str
    y_head: str
    x_axis: Axis
    y_axis: Axis
    points: tuple[Point, ...]
    lines: tuple[Line, ...]
    bound: float


def sensitivity_page(report: SensitivityReport) -> str:
    """Return ``report`` as HTML that asks the network for nothing."""
    return _rendered(
        title=f"{report.architecture} INT8 sensitivity",
        headline=headline(report),
        lead=f"{report.images:,} images: {report.image_source}",
        charts=sensitivity_charts(report),
        scatter=None,
        rows=(),
        notes=(*report.notes, *(f"left out: {reason}" for reason in report.skipped)),
    )


def mixed_page(report: MixedReport, sensitivity: SensitivityReport) -> str:
    """Return the search of ``report``, and the effects that led it, as one HTML page."""
    return _rendered(
        title=f"{report.architecture} INT8 mixed precision",
        headline=_outcome(report),
        lead=f"{report.images:,} images: {report.image_source}; {report.judged_on}",
        charts=sensitivity_charts(sensitivity),
        scatter=scatter(report),
        rows=tuple(_row(point, report) for point in report.curve),
        notes=report.notes,
    )


def headline(report: SensitivityReport) -> str:
    """Return in one sentence where the noise comes from."""
    worst = _half_of_noise(report)
    share = sum(effect.noise_share for effect in worst)
    of_all = f"{len(report.effects)} {report.basis.by}s"
    snr = "exact" if report.int8_snr_db is None else f"{report.int8_snr_db:.1f} dB"
    if not worst:
        return f"INT8 has SNR {snr}, and none of {of_all} stands out"
    names = ", ".join(effect.name for effect in worst[:3])
    more = f" and {len(worst) - 3} more" if len(worst) > 3 else ""  # noqa: PLR2004  (three named)
    return (
        f"INT8 has SNR {snr} and {percent(report.int8_agreement)} same top-1; {names}{more} "
        f"({len(worst)} of {of_all}) make {percent(share, 0)} of the noise"
    )


def sensitivity_charts(report: SensitivityReport) -> tuple[Chart, ...]:
    """Return the chart of noise, in the order of the network."""
    worst = {effect.name for effect in _half_of_noise(report)}
    most = max((effect.noise_share for effect in report.effects), default=1.0)
    axis = linear(0.0, 100 * max(most, 0.01) * _ROOM, unit=" %")
    chart = Chart(
        title=f"What each {report.basis.by} costs in INT8",
        lead=(
            "The share of the INT8 graph's noise power that goes when this alone stays float, in "
            "the order of the network. Rounding errors can cancel, so the shares need not add up "
            "to 100 %. Dark: the fewest that make half of the noise."
        ),
        plot_head="share of the noise",
        heads=("share", "alone in INT8, dB", "alone in float, dB", "same top-1"),
        axis=axis,
        rows=tuple(_bar(effect, axis, worst=effect.name in worst) for effect in report.effects),
    )
    return (chart,)


def _half_of_noise(report: SensitivityReport) -> tuple[Effect, ...]:
    """Return the fewest units that make half of the noise."""
    found: list[Effect] = []
    total = 0.0
    for effect in report.ranked():
        if total >= _HALF or effect.noise_share <= 0:
            break
        found.append(effect)
        total += effect.noise_share
    return tuple(found)


def _bar(effect: Effect, axis: Axis, *, worst: bool) -> ChartRow:
    length = axis.at(100 * effect.noise_share)
    return ChartRow(
        name=effect.name,
        kind="subject" if worst else "engine",
        values=(
            f"{signed(100 * effect.noise_share, 1)} %",
            _decibels(effect.only_snr_db),
            _decibels(effect.without_snr_db),
            percent(effect.without_agreement),
        ),
        bar=Bar(length=length, low=length, high=length),
        said=f"{effect.name}: {percent(effect.noise_share, 1)} of the noise",
    )


def _decibels(snr_db: float | None) -> str:
    return "exact" if snr_db is None else f"{snr_db:.1f}"


def scatter(report: MixedReport) -> Scatter:
    """Return the curve: fast is left, accurate is up."""
    qualities = [_quality(point, report) for point in report.curve]
    target = _target(report)
    times = [point.latency_ms for point in report.curve] + [report.latencies.float_ms]
    x_axis = _around(times, least=0.0, unit=" ms")
    y_axis = _around([100 * each for each in (*qualities, target)], least=100 * _LEAST_RANGE)
    found = [_point(point, report, x_axis, y_axis) for point in report.curve]
    efficient = [p for p, point in zip(found, report.curve, strict=True) if point.efficient]
    return Scatter(
        title="Accuracy against latency",
        lead=(
            f"Each point is a mixture that was quantised, built and run. The bound, {report.bound},"
            f" is dashed; the line joins mixtures that none beats in both. All blocks in float "
            f"take {milliseconds(report.latencies.float_ms)}."
        ),
        x_head=f"sum of the blocks on {report.latencies.engine}, batch {report.latencies.batch}",
        y_head="same top-1, %"
        if report.curve[0].judged.drop is None
        else "change of top-1, points",
        x_axis=x_axis,
        y_axis=y_axis,
        points=tuple(sorted(found, key=lambda point: point.kind == "subject")),  # drawn last
        lines=tuple(Line(start=start, end=end) for start, end in itertools.pairwise(efficient)),
        bound=100 - y_axis.at(100 * target),
    )


def _by_agreement(report: MixedReport) -> bool:
    return report.bound_kind == "min-agreement"


def _quality(point: Mixture, report: MixedReport) -> float:
    judged = point.judged
    return judged.agreement if _by_agreement(report) else -(judged.drop or 0.0)


def _target(report: MixedReport) -> float:
    return report.bound_share if _by_agreement(report) else -report.bound_share


def _around(values: list[float], *, least: float, unit: str = "") -> Axis:
    low, high = min(values), max(values)
    room = max(high - low, least) * _MARGIN or 1.0
    return linear(low - room, high + room, unit=unit)


def _point(point: Mixture, report: MixedReport, x_axis: Axis, y_axis: Axis) -> Point:
    kind: Kind = "engine" if point.met else "failed"
    if point.kept == report.kept:
        kind = "subject"
    return Point(
        x=x_axis.at(point.latency_ms),
        y=100 - y_axis.at(100 * _quality(point, report)),
        kind=kind,
        said=f"{len(point.kept)} float: {milliseconds(point.latency_ms)}, "
        f"{percent(point.judged.agreement)} same top-1",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureView:
    """A mixture in words."""

    kind: Kind
    cells: tuple[str, ...]
    kept: str


def _row(point: Mixture, report: MixedReport) -> MixtureView:
    judged = point.judged
    kind: Kind = "subject" if point.kept == report.kept else "engine"
    return MixtureView(
        kind=kind,
        cells=(
            str(len(point.kept)),
            milliseconds(point.latency_ms),
            percent(judged.agreement),
            "–" if judged.drop is None else points(-judged.drop),
            _decibels(judged.snr_db),
            "met" if point.met else "not met",
        ),
        kept=", ".join(point.kept) or "none",
    )


def _outcome(report: MixedReport) -> str:
    total = len(report.latencies.blocks)
    point = report.chosen
    if report.kept is None or point is None:
        return f"No mixture keeps {report.bound}"
    found = (
        f"{percent(point.judged.agreement)} same top-1"
        if _by_agreement(report)
        else f"top-1 {points(-(point.judged.drop or 0.0))} points"
    )
    share = point.latency_ms / report.latencies.float_ms
    verdict = "" if share < 1 else ": INT8 gains nothing here"
    return (
        f"{len(report.kept)} of {total} blocks in float keep {report.bound}: {found}, in "
        f"{significant(100 * share)} % of the float blocks' time{verdict}"
    )


def _rendered(
    *,
    title: str,
    headline: str,
    lead: str,
    charts: tuple[Chart, ...],
    scatter: Scatter | None,
    rows: tuple[MixtureView, ...],
    notes: tuple[str, ...],
) -> str:
    return template("int8.html.jinja").render(
        version=__version__,
        title=title,
        headline=headline,
        lead=lead,
        charts=charts,
        scatter=scatter,
        rows=rows,
        notes=notes,
    )
