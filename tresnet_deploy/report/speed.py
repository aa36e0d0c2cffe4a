"""The speed part: how many times as fast as eager, how latency spreads, and the batch sweep."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from tresnet_deploy.report.axes import Axis, linear, logarithmic
from tresnet_deploy.report.charts import Bar, Chart, ChartRow, Kind, Strip
from tresnet_deploy.report.data import ReportData
from tresnet_deploy.report.words import factor, milliseconds, significant, span
from tresnet_deploy.results import BenchmarkRow

_BINS: Final = 60  # about two pixels a bin on a phone
_SHAPE_HEIGHT: Final = 10.0  # of the strip's own coordinates
_AXIS_ROOM: Final = 1.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRow:
    """One contestant: its throughput at each batch size, and which is its best."""

    name: str
    kind: Kind
    cells: tuple[str, ...]
    best: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Throughput by batch size."""

    batches: tuple[int, ...]
    rows: tuple[SweepRow, ...]


def speed_charts(data: ReportData) -> tuple[Chart, ...]:
    """Return a chart of speed-ups for latency, and one for throughput in the best real batch."""
    charts = [_speed_chart(data, "latency", 1)]
    batch = best_batch(data, least=2)
    if batch is not None:
        charts.append(_speed_chart(data, "throughput", batch))
    return tuple(chart for chart in charts if chart.rows)


def best_batch(data: ReportData, *, least: int = 1) -> int | None:
    """Return the batch size from ``least`` on at which the subject has its highest throughput."""
    rows = data.benchmark.rows if data.benchmark else ()
    mine = [
        row
        for row in rows
        if row.scenario == "throughput" and row.batch >= least and data.is_subject(row)
    ]
    return max(mine, key=lambda row: row.images_per_s).batch if mine else None


def kind_of(row: BenchmarkRow, data: ReportData) -> Kind:
    """Return how a row is drawn: what is shipped stands out from its rivals."""
    if row.parity == "fail":
        return "failed"
    if row.parity == "baseline":
        return "baseline"
    return "subject" if data.is_subject(row) else "engine"


def _speed_chart(data: ReportData, scenario: str, batch: int) -> Chart:
    rows = sorted(data.rows(scenario, batch), key=lambda row: row.images_per_s)
    highs = [row.ratio.interval.high for row in rows if row.ratio]
    axis = linear(0.0, max(highs, default=1.0) * _AXIS_ROOM, unit="×")
    baseline = next((row.ratio.baseline for row in rows if row.ratio), "the baseline")
    if scenario == "latency":
        lead = "One image at a time, the next request after the last returns. Longer is faster."
        head = "median"
    else:
        lead = f"{batch} images at a time, all images of a round over all its time."
        head = "images/s"
    return Chart(
        title=f"{scenario.capitalize()}, batch {batch}",
        lead=lead,
        plot_head=f"speed-up over {baseline} = 1",
        heads=("speed-up", "95 % interval", head),
        axis=axis,
        rows=tuple(_bar_row(row, data, axis) for row in rows),
        reference=axis.at(1.0),
    )


def _bar_row(row: BenchmarkRow, data: ReportData, axis: Axis) -> ChartRow:
    speed = milliseconds(row.p50_ms) if row.scenario == "latency" else significant(row.images_per_s)
    if row.ratio is None:
        said = "failed parity: no speed-up shown" if row.parity == "fail" else ""
        return ChartRow(
            name=row.name,
            kind=kind_of(row, data),
            values=("–", "–", speed),
            badge="failed parity" if row.parity == "fail" else "",
            said=said,
        )
    is_base = row.ratio.baseline == row.name
    interval = row.ratio.interval
    badge = "parity not checked" if row.parity == "not checked" else ""
    return ChartRow(
        name=row.name,
        kind=kind_of(row, data),
        values=(factor(row.ratio.value), "baseline" if is_base else span(interval), speed),
        badge=badge + (" drifted" if row.drift else ""),
        bar=Bar(
            length=axis.at(row.ratio.value), low=axis.at(interval.low), high=axis.at(interval.high)
        ),
        said=f"{row.name}: {factor(row.ratio.value)} {row.ratio.baseline}",
    )


def latency_chart(data: ReportData) -> Chart | None:
    """Return the distribution of batch-1 latencies on a logarithmic axis, None without rows."""
    rows = sorted(data.rows("latency", 1), key=lambda row: -row.p50_ms)
    if not rows:
        return None
    samples = {row.name: np.concatenate(row.samples_ms) for row in rows}
    lowest = min(float(np.min(times)) for times in samples.values())
    # The slowest single samples would squeeze everything else; p99 is what services promise.
    highest = max(row.p99_ms for row in rows)
    axis = logarithmic(lowest, highest, unit=" ms")
    return Chart(
        title="How latency spreads, batch 1",
        lead=(
            "Half of all requests were answered within p50, 90 % within p90, 99 % within p99. "
            "Logarithmic; further left is faster, narrower is steadier."
        ),
        plot_head="time per request",
        heads=("p50 ms", "p90 ms", "p99 ms", "samples"),
        axis=axis,
        rows=tuple(
            ChartRow(
                name=row.name,
                kind=kind_of(row, data),
                values=(
                    significant(row.p50_ms),
                    significant(row.p90_ms),
                    significant(row.p99_ms),
                    f"{len(samples[row.name]):,}",
                ),
                strip=Strip(
                    p50=axis.at(row.p50_ms),
                    p90=axis.at(row.p90_ms),
                    p99=axis.at(row.p99_ms),
                    shape=_shape(samples[row.name].tolist(), axis),
                ),
                said=f"{row.name}: p50 {milliseconds(row.p50_ms)}, p99 {milliseconds(row.p99_ms)}",
            )
            for row in rows
        ),
    )


def _shape(times_ms: list[float], axis: Axis) -> str:
    """Return the outline of a histogram over the axis: x in percent, y upwards from a baseline."""
    edges = np.linspace(math.log(axis.low), math.log(axis.high), _BINS + 1)
    counts, _ = np.histogram(np.log(times_ms), bins=edges)
    if counts.max() == 0:
        return ""
    heights = _SHAPE_HEIGHT * (1 - counts / counts.max())
    width = 100.0 / _BINS
    steps = "".join(_steps(heights.tolist(), width))
    return f"M0 {_SHAPE_HEIGHT:g}{steps}V{_SHAPE_HEIGHT:g}Z"


def _steps(heights: list[float], width: float) -> Iterator[str]:
    for index, height in enumerate(heights):
        yield f"V{height:.1f}H{(index + 1) * width:.1f}"


def sweep(data: ReportData) -> Sweep | None:
    """Return throughput by batch size, None when only one size was measured."""
    rows = [r for r in (data.benchmark.rows if data.benchmark else ()) if r.scenario != "latency"]
    batches = tuple(sorted({row.batch for row in rows}))
    if len(batches) <= 1:
        return None
    found: dict[str, dict[int, BenchmarkRow]] = {}
    for row in rows:
        found.setdefault(row.name, {})[row.batch] = row
    return Sweep(
        batches=batches,
        rows=tuple(_sweep_row(name, by, batches, data) for name, by in found.items()),
    )


def _sweep_row(
    name: str, by_batch: dict[int, BenchmarkRow], batches: tuple[int, ...], data: ReportData
) -> SweepRow:
    speeds = {batch: row.images_per_s for batch, row in by_batch.items()}
    best = max(speeds, key=lambda batch: speeds[batch])
    return SweepRow(
        name=name,
        kind=kind_of(by_batch[best], data),
        cells=tuple(significant(speeds[b]) if b in speeds else "–" for b in batches),
        best=batches.index(best),
    )
