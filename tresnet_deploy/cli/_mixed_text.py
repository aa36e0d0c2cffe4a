"""A search for blocks to keep in float, for people, and the error of one that found none."""

from __future__ import annotations

from collections.abc import Iterator

from tresnet_deploy.cli._options import wider_precision
from tresnet_deploy.cli._sensitivity_text import decibels
from tresnet_deploy.cli._tables import percent, percent_span, table
from tresnet_deploy.errors import GateError
from tresnet_deploy.int8_results import MixedReport, Mixture


def text(report: MixedReport) -> str:
    """Return the outcome and the curve, the fastest mixture first."""
    return "\n".join(_lines(report))


def failure(report: MixedReport, *, where: str = "") -> GateError:
    """Return the error of a search that found nothing, and the ways out.

    ``where`` is what commands need to find the folder again.
    """
    blocks = len(report.latencies.blocks)
    return GateError(
        f"no INT8 engine of {report.file} keeps {report.bound} on {report.images} held-out images, "
        f"not even with all but one of {blocks} blocks in float; no engine was written",
        hints=(
            "a looser bound",
            f"tresnet-deploy build-engine --int8 --calibration-data DIR{where}, for better ranges",
            f"tresnet-deploy build-engine --precision {wider_precision()}{where}",
        ),
    )


def _lines(report: MixedReport) -> Iterator[str]:
    yield f"mixed precision for {report.bound}"
    yield f"judged on {report.images} images: {report.image_source}; {report.judged_on}"
    if report.kept is not None:
        total = len(report.latencies.blocks)
        names = ": " + ", ".join(report.kept) if report.kept else ""
        yield f"kept in float: {len(report.kept)} of {total} blocks{names}"
    yield ""
    yield table(
        ("float", "blocks ms", "same top-1", "drop", "95 % interval", "SNR dB", "", "blocks"),
        [_row(point, report) for point in report.curve],
        indent="  ",
    )
    yield ""
    source = report.latencies
    yield (
        f"blocks ms: the sum of the blocks on {source.engine} at batch {source.batch}; all in "
        f"float {source.float_ms:.3f}\n* no other mixture is as fast and as accurate"
    )


def _row(point: Mixture, report: MixedReport) -> tuple[str, ...]:
    judged = point.judged
    verdict = "met" if point.met else "not met"
    chosen = ", chosen" if point.kept == report.kept else ""
    return (
        str(len(point.kept)),
        f"{point.latency_ms:.3f}",
        percent(judged.agreement, digits=2),
        "-" if judged.drop is None else f"{100 * judged.drop:+.2f} %",
        percent_span(judged.drop_interval),
        decibels(judged.snr_db),
        f"{'*' if point.efficient else ' '} {verdict}{chosen}",
        _names(point.kept),
    )


def _names(kept: tuple[str, ...]) -> str:
    shown = 4
    more = f", ... {len(kept) - shown} more" if len(kept) > shown else ""
    return ", ".join(kept[:shown]) + more
