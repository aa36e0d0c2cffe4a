"""A parity report for people, and the error that a failed one ends with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from tresnet_deploy.cli._blame_text import text as blame_text
from tresnet_deploy.cli._options import wider_precision
from tresnet_deploy.cli._tables import percent, percent_span, table
from tresnet_deploy.contracts import CALIBRATED
from tresnet_deploy.errors import GateError
from tresnet_deploy.parity import told
from tresnet_deploy.results import Accuracy, ParityReport, StageParity

_SHOWN_FLIPS: Final = 10


def text(report: ParityReport) -> str:
    """Return the whole report; the flips of the last stage are the first ten."""
    return "\n\n".join(_sections(report))


def failure(report: ParityReport, *, where: str = "") -> GateError:
    """Return the error of a failed report: the first stage that failed, and the ways out.

    ``where`` is what commands need to find the folder again.
    """
    stage = next(stage for stage in report.stages if not stage.passed)
    failed = "; ".join(
        "{} is {}, not {}".format(gate.name, *told(gate)) for gate in stage.gates if not gate.passed
    )
    return GateError(
        f"parity failed, first at {stage.stage}: {failed}", hints=_ways_out(stage, where)
    )


def _sections(report: ParityReport) -> Iterator[str]:
    yield f"{report.architecture} on {report.images} images: {report.image_source}"
    yield _stages(report)
    if report.reference_accuracy is not None:
        yield _accuracies(report)
    shown = [stage for stage in report.stages if not stage.passed or stage is report.stages[-1]]
    for stage in shown:
        yield _gates(stage)
    if report.stages[-1].flips:
        yield _flips(report.stages[-1])
    if any(stage.blocks for stage in report.stages):
        yield blame_text(report)
    colour = "green" if report.verdict == "pass" else "red"
    yield f"verdict: {click.style(report.verdict, fg=colour, bold=True)}"


def _stages(report: ParityReport) -> str:
    heads = ("stage", "precision", "max abs", "mean abs", "SNR dB", "min cosine")
    rows = [
        (
            stage.stage,
            stage.precision,
            f"{stage.max_abs:.1e}",
            f"{stage.mean_abs:.1e}",
            "exact" if stage.snr_db is None else f"{stage.snr_db:.1f}",
            f"{stage.cosine_min:.5f}",
            percent(stage.top1_agreement),
            percent(stage.top5_agreement),
            str(len(stage.flips)),
            "pass" if stage.passed else "FAIL",
        )
        for stage in report.stages
    ]
    return table((*heads, "same top-1", "same top-5", "flips", "gates"), rows)


def _accuracies(report: ParityReport) -> str:
    assert report.reference_accuracy is not None
    several = report.reference_accuracy.mean_ap is not None
    heads = ("mAP", "CF1", "OF1") if several else ("top-1", "top-5")
    rows = [("reference", *_measures(report.reference_accuracy), "", "")]
    rows += [
        (stage.stage, *_measures(found), _points(found.drop), percent_span(found.drop_interval))
        for stage in report.stages
        if (found := stage.accuracy) is not None
    ]
    title = f"accuracy on {report.reference_accuracy.images} labelled images"
    return f"{title}\n{table(('stage', *heads, 'drop', '95 % interval'), rows, indent='  ')}"


def _measures(accuracy: Accuracy) -> tuple[str, ...]:
    if accuracy.mean_ap is None:
        return percent(accuracy.top1), percent(accuracy.top5)
    return percent(accuracy.mean_ap), percent(accuracy.cf1), percent(accuracy.of1)


def _points(drop: float | None) -> str:
    return "" if drop is None else f"{100 * drop:+.1f} %"


def _gates(stage: StageParity) -> str:
    rows = [
        (
            gate.name,
            *told(gate),
            "pass" if gate.passed else "FAIL",
            gate.why,
        )
        for gate in stage.gates
    ]
    title = f"gates of {stage.stage}, {stage.precision}"
    return f"{title}\n{table(('gate', 'found', 'wanted', '', 'bound'), rows, indent='  ')}"


def _flips(stage: StageParity) -> str:
    labelled = any(flip.label is not None for flip in stage.flips)
    rows = [
        (
            flip.image,
            flip.reference,
            flip.candidate,
            f"{flip.margin:#.3g}",
            *((flip.label or "",) if labelled else ()),
        )
        for flip in stage.flips[:_SHOWN_FLIPS]
    ]
    heads = ("image", "reference", "now", "margin", *(("label",) if labelled else ()))
    more = len(stage.flips) - len(rows)
    title = f"flips of {stage.stage}, those that the reference was surest of first"
    tail = f"\n  and {more} more in parity.json" if more else ""
    return f"{title}\n{table(heads, rows, indent='  ')}{tail}"


def _ways_out(stage: StageParity, where: str) -> tuple[str, ...]:
    ways = []
    if stage.precision in CALIBRATED:
        what = "--int8" if stage.precision == "int8" else f"--precision {stage.precision}"
        ways.append(f"{what} --calibration-data DIR --overwrite")
        if stage.precision == "int8":
            ways.append("--int8 --min-agreement 99% --overwrite")
        ways.append(f"--precision {wider_precision()}")
    if stage.precision in ("fp16", "bf16"):
        ways.append("--precision fp32")
    return tuple(f"tresnet-deploy build-engine {way}{where}" for way in ways)
