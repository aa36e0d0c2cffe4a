"""A benchmark report for people."""

from __future__ import annotations

from collections.abc import Iterator

import click

from tresnet_deploy.cli._tables import table
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import GateError
from tresnet_deploy.hints import output_suffix
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow

_EXPLANATION = """\
p50, p90, p99: milliseconds within which half, 90 % and 99 % of the runs ended. img/s: median over
rounds. ratio: speed over the baseline's, median of the rounds' own ratios; its 95 % interval is a
paired bootstrap over rounds. cosine: the least of any image, with the baseline's scores of this
very run. open: seconds to load and compile, in no other number."""
_ON_GPU = """\
GPU p50 ms: the median by CUDA events, from the first to the last piece of a step on the device;
where it is near p50, the step's time is the device's. GPU MiB: device memory that was taken."""


def text(report: BenchmarkReport) -> str:
    """Return the whole report, with a line on each measure."""
    return "\n\n".join(_sections(report))


def failure(
    report: BenchmarkReport, engine: Artifact, *, min_speedup: float | None
) -> GateError | None:
    """Return the error that the command ends with, None when nothing failed.

    ``engine`` is the one that ``min_speedup`` is asked of.
    """
    where = output_suffix(engine.path.parent)
    failed = dict.fromkeys(row.name for row in report.rows if row.parity == "fail")
    if failed:
        return GateError(
            f"failed parity, so no speed-up counts: {', '.join(failed)}",
            hints=(f"tresnet-deploy compare{where}, which says where accuracy went",),
        )
    return None if min_speedup is None else _too_slow(report, engine, min_speedup)


def _too_slow(report: BenchmarkReport, engine: Artifact, least: float) -> GateError | None:
    """Return the error where ``least`` was not shown in every scenario, or in none."""
    subject = (engine.sha256, engine.precision)
    best: dict[tuple[str, int], BenchmarkRow] = {}
    for row in report.rows:
        if (row.sha256, row.precision) == subject:  # twice where a CUDA graph is a choice
            place = (row.scenario, row.batch)
            best[place] = max(best.get(place, row), row, key=_low)
    if not best:
        return GateError(
            f"{engine.path.name} was not timed, so --min-speedup {least:g} is not shown",
            hints=("--batches with sizes that it takes",),
        )
    for row in best.values():
        if row.ratio is not None and row.ratio.baseline == row.name:
            return GateError(
                f"{row.name} was compared with nothing else, so --min-speedup {least:g} is not "
                "shown",
                hints=("--eager, or name another engine too",),
            )
        if _low(row) < least:
            beside = f" as {row.ratio.baseline}" if row.ratio else ""
            return GateError(
                f"{row.name} is {_low(row):.2f} times as fast{beside} at the lower end "
                f"({row.scenario}, batch {row.batch}), not at least {least:g}"
            )
    return None


def _low(row: BenchmarkRow) -> float:
    return row.ratio.interval.low if row.ratio else 0.0


def _sections(report: BenchmarkReport) -> Iterator[str]:
    where = report.environment
    on_gpu = any(row.device_p50_ms is not None for row in report.rows)
    machine = f"{where.get('processor', 'this machine')}, {where.get('cores', '')}"
    if on_gpu:
        machine = where.get("GPU settings", where.get("GPU", "a GPU")).partition(",")[0]
    yield (
        f"{report.architecture} on {machine}: {report.rounds} interleaved rounds of "
        f"{report.seconds_per_round:g} s each"
    )
    for scenario, batch in dict.fromkeys((row.scenario, row.batch) for row in report.rows):
        if (scenario, batch) == ("throughput", 1):  # the very runs of the latency scenario
            continue
        rows = [r for r in report.rows if (r.scenario, r.batch) == (scenario, batch)]
        yield f"{scenario}, batch {batch}\n{_table(rows)}"
    yield f"{_EXPLANATION}\n{_ON_GPU}" if on_gpu else _EXPLANATION
    commands = list(dict.fromkeys(row.equivalent for row in report.rows if row.equivalent))
    if commands:
        yield "\n".join(("NVIDIA's own measurements of the same:", *commands))
    title = click.style("verdict:", bold=True)
    if report.verdicts:
        yield "\n".join(f"{title} {verdict}" for verdict in report.verdicts)
    if report.doubts:
        title = click.style("not for publication:", fg="yellow", bold=True)
        yield "\n".join(f"{title} {doubt}" for doubt in report.doubts)


def _table(rows: list[BenchmarkRow]) -> str:
    heads = ("engine", "parity", "p50 ms", "p90 ms", "p99 ms", "img/s", "ratio", "95 % interval")
    on_gpu = any(row.device_p50_ms is not None for row in rows)
    more = ("GPU p50 ms", "GPU MiB") if on_gpu else ()
    return table(
        (*heads, "cosine", "MiB", "open s", *more),
        [(*_cells(row), *(_gpu_cells(row) if on_gpu else ())) for row in rows],
        indent="  ",
    )


def _gpu_cells(row: BenchmarkRow) -> tuple[str, str]:
    return (
        "-" if row.device_p50_ms is None else f"{row.device_p50_ms:.3f}",
        "-" if row.memory_mib is None else f"{row.memory_mib:.0f}",
    )


def _ms(value: float) -> str:
    return f"{value:.3f}" if value < 1 else f"{value:.2f}"


def _cells(row: BenchmarkRow) -> tuple[str, ...]:
    ratio = row.ratio
    return (
        row.name,
        row.parity,
        _ms(row.p50_ms),
        _ms(row.p90_ms),
        _ms(row.p99_ms),
        f"{row.images_per_s:.1f}",
        f"{ratio.value:.2f}" if ratio else "-",
        f"{ratio.interval.low:.2f} to {ratio.interval.high:.2f}" if ratio else "-",
        "-" if row.cosine_min is None else f"{row.cosine_min:.4f}",
        "-" if row.size_mib is None else f"{row.size_mib:.1f}",
        f"{row.open_s:.1f}",
    )
