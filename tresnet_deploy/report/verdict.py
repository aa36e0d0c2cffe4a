"""The verdict: one sentence, the key figures, and what speaks against shipping."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tresnet_deploy.contestants import size_mib
from tresnet_deploy.parity import told
from tresnet_deploy.report.data import ReportData
from tresnet_deploy.report.proof import change_of
from tresnet_deploy.report.speed import best_batch
from tresnet_deploy.report.words import (
    factor,
    mebibytes,
    milliseconds,
    percent,
    points,
    points_span,
    significant,
    span,
)
from tresnet_deploy.results import Accuracy, BenchmarkReport, BenchmarkRow, StageParity

Outcome = Literal["passed", "failed", "not compared"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A key figure: what it is, its value, and what it is to be judged by."""

    name: str
    value: str
    beside: str


def outcome(data: ReportData) -> Outcome:
    """Return whether the engine passed: every gate of every stage, not only its own."""
    if data.parity is None:
        return "not compared"
    return "passed" if data.parity.verdict == "pass" else "failed"


def headline(data: ReportData) -> str:
    """Return the whole result as one sentence.

    For example: INT8 engine (openvino) passed: 3.94× pytorch eager fp32 at batch 1 (95 % interval
    3.88 to 4.01), top-1 −0.10 points (95 % interval −0.60 to +0.40).
    """
    engine = f"{data.subject.precision.upper()} engine ({data.subject.backend or 'onnx'})"
    claims = [*_speed_claims(data), *_accuracy_claims(data.stage)]
    return ": ".join(part for part in (f"{engine} {outcome(data)}", ", ".join(claims)) if part)


def _claimed(data: ReportData) -> BenchmarkRow | None:
    """Return the row that the headline tells of: latency, else throughput at its best."""
    return data.row("latency", 1) or data.row("throughput", best_batch(data) or 1)


def _speed_claims(data: ReportData) -> Iterator[str]:
    row = _claimed(data)
    if row is not None and row.parity == "fail":
        yield "no speed-up claimed"
    if row is None or row.ratio is None or row.ratio.baseline == row.name:
        return
    ratio = row.ratio
    doubtful = data.benchmark is not None and not data.benchmark.publishable
    yield (
        f"{factor(ratio.value)} {ratio.baseline} at batch {row.batch} "
        f"(95 % interval {span(ratio.interval)}"
        f"{'; not for publication' if doubtful else ''})"
    )


def _accuracy_claims(stage: StageParity | None) -> Iterator[str]:
    if stage is None:
        return
    accuracy = stage.accuracy
    if accuracy is None or accuracy.drop is None:
        yield f"same top-1 as the original on {percent(stage.top1_agreement)} of the images"
        return
    change, interval = change_of(accuracy)
    within = f" (95 % interval {points_span(interval)})" if interval else ""
    yield f"{_measure(accuracy)} {points(change)} points{within}"


def _measure(accuracy: Accuracy) -> str:
    return "top-1" if accuracy.mean_ap is None else "mAP"


def figures(data: ReportData) -> tuple[Figure, ...]:
    """Return the key figures that the data can give, each beside what it is compared with."""
    return (*_speed_figures(data), *_accuracy_figures(data), *_size_figures(data))


def _speed_figures(data: ReportData) -> Iterator[Figure]:
    claimed, row = _claimed(data), data.row("latency", 1)
    if claimed is not None and claimed.parity == "fail":
        return
    if row is not None:
        base = _baseline(data, row)
        beside = f"{base.name} {milliseconds(base.p50_ms)}" if base else f"p99 {row.p99_ms:.2f} ms"
        yield Figure(name="latency p50, batch 1", value=milliseconds(row.p50_ms), beside=beside)
    row = data.row("throughput", best_batch(data) or 1)
    if row is not None:
        base = _baseline(data, row)
        yield Figure(
            name=f"images/s, batch {row.batch}",
            value=significant(row.images_per_s),
            beside=f"{base.name} {significant(base.images_per_s)}" if base else "",
        )


def _baseline(data: ReportData, row: BenchmarkRow) -> BenchmarkRow | None:
    rivals = data.rows(row.scenario, row.batch)
    baselines = [rival for rival in rivals if rival.parity == "baseline"]
    return baselines[0] if baselines else None


def _accuracy_figures(data: ReportData) -> Iterator[Figure]:
    stage = data.stage
    if stage is None or data.parity is None:
        return
    reference, ours = data.parity.reference_accuracy, stage.accuracy
    if reference is not None and ours is not None:
        yield Figure(
            name=f"{_measure(ours)}, {ours.images:,} images",
            value=percent(ours.headline or 0.0),
            beside=f"original {percent(reference.headline or 0.0)}",
        )
    yield Figure(
        name="same class as the original",
        value=percent(stage.top1_agreement),
        beside=f"{len(stage.flips):,} of {data.parity.images:,} changed",
    )


def _size_figures(data: ReportData) -> Iterator[Figure]:
    try:
        size = size_mib(data.subject)
    except OSError:  # moved or deleted since
        return
    beside = f"FP32 graph {mebibytes(data.float_mib)}" if data.float_mib else ""
    yield Figure(name="engine size", value=mebibytes(size), beside=beside)


def remarks(data: ReportData) -> tuple[str, ...]:
    """Return what else the reader must know, what speaks against shipping first."""
    failed = (
        "{}: {} is {}, must be {}".format(stage.stage, gate.name, *told(gate))
        for stage in (data.parity.stages if data.parity else ())
        for gate in stage.gates
        if not gate.passed
    )
    return tuple(dict.fromkeys((*failed, *_speed_remarks(data.benchmark))))


def _speed_remarks(benchmark: BenchmarkReport | None) -> Iterator[str]:
    if benchmark is None:
        return
    for doubt in benchmark.doubts:
        yield f"times not for publication: {doubt}"
    yield from benchmark.verdicts
