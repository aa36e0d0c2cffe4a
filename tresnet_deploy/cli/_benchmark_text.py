"""A benchmark report for people."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tresnet_deploy.cli._tables import table
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import GateError
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow

_EXPLANATION = """\
p50, p90, p99: milliseconds within which half, 90 % and 99 % of the runs ended. img/s: median over
rounds. ratio: speed over the baseline's, median of the rounds' own ratios; its 95 % interval is a
paired bootstrap over rounds. cosine: the least of any image, with the baseline's scores of this
very run. open: seconds to load and compile, in no other number."""


def text(report: BenchmarkReport) -> str:
    """Return the whole report, with a line on each measure."""
    return "\n\n".join(_sections(report))


def failure(
    report: BenchmarkReport, engine: Artifact, *, min_speedup: float | None
) -> GateError | None:
    """Return the error that the command ends with, None when nothing failed.

    ``engine`` is the one that ``min_speedup`` is asked of.
    """
    failed = dict.fromkeys(row.name for row in report.rows if row.parity == "fail")
    if failed:
        return GateError(
            f"failed parity, so no speed-up counts: {', '.join(failed)}",
            hints=("tresnet-deploy compare, which says where accuracy went",),
        )
    subject = (engine.sha256, engine.precision)
    mine = [row for row in report.rows if (row.sha256, row.precision) == subject]
    for row in mine:
        low = row.ratio.interval.low if row.ratio else 0.0
        if min_speedup is not None and low < min_speedup:
            return GateError(
                f"{row.name} is {low:.2f} times as fast at the lower end ({row.scenario}, batch "
                f"{row.batch}), not at least {min_speedup:g}"
            )
    return None


def _sections(report: BenchmarkReport) -> Iterator[str]:
    where = report.environment
    yield (
        f"{report.architecture} on {where.get('processor', 'this machine')}, "
        f"{where.get('cores', '')}: {report.rounds} interleaved rounds of "
        f"{report.seconds_per_round:g} s each"
    )
    for scenario, batch in dict.fromkeys((row.scenario, row.batch) for row in report.rows):
        if (scenario, batch) == ("throughput", 1):  # the very runs of the latency scenario
            continue
        rows = [r for r in report.rows if (r.scenario, r.batch) == (scenario, batch)]
        yield f"{scenario}, batch {batch}\n{_table(rows)}"
    yield _EXPLANATION
    title = click.style("verdict:", bold=True)
    if report.verdicts:
        yield "\n".join(f"{title} {verdict}" for verdict in report.verdicts)
    if report.doubts:
        title = click.style("not for publication:", fg="yellow", bold=True)
        yield "\n".join(f"{title} {doubt}" for doubt in report.doubts)


def _table(rows: list[BenchmarkRow]) -> str:
    heads = ("engine", "parity", "p50 ms", "p90 ms", "p99 ms", "img/s", "ratio", "95 % interval")
    return table((*heads, "cosine", "MiB", "open s"), map(_cells, rows), indent="  ")


def _cells(row: BenchmarkRow) -> tuple[str, ...]:
    ratio = row.ratio
    return (
        row.name,
        row.parity,
        f"{row.p50_ms:.2f}",
        f"{row.p90_ms:.2f}",
        f"{row.p99_ms:.2f}",
        f"{row.images_per_s:.1f}",
        f"{ratio.value:.2f}" if ratio else "-",
        f"{ratio.interval.low:.2f} to {ratio.interval.high:.2f}" if ratio else "-",
        "-" if row.cosine_min is None else f"{row.cosine_min:.4f}",
        "-" if row.size_mib is None else f"{row.size_mib:.1f}",
        f"{row.open_s:.1f}",
    )
