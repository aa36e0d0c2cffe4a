"""What speaks against publishing times: this file is about quick runs, busy machines and drift."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tresnet_deploy.environment import Contention
from tresnet_deploy.gpu_watch import Watch
from tresnet_deploy.results import BenchmarkRow
from tresnet_deploy.speedups import DRIFT_LIMIT
from tresnet_deploy.timing import Schedule

_P99_SAMPLES: Final = 100  # with fewer, the 99th percentile is the slowest sample
_PUBLISHABLE_ROUNDS: Final = 5  # fewer rounds leave a bootstrap over rounds nothing to resample
_QUIET_OTHERS: Final = 0.05  # share of the CPU that moves a ratio by about as much
_QUIET_STOLEN: Final = 0.02
_NAMED: Final = 3  # rows that a doubt names; the table marks all


def doubts(
    rows: tuple[BenchmarkRow, ...],
    schedule: Schedule,
    *,
    quick: bool,
    contentions: Iterable[Contention | None],
    watches: Iterable[Watch],
) -> Iterator[str]:
    """Give the reasons for which nobody should publish these times."""
    if quick:
        yield "this was a quick run"
    elif schedule.rounds < _PUBLISHABLE_ROUNDS:
        yield f"{schedule.rounds} rounds are too few for an interval; {_PUBLISHABLE_ROUNDS} are not"
    yield from _of_the_machine(contentions)
    yield from dict.fromkeys(doubt for watch in watches for doubt in watch.doubts())
    cold = [f"{row.name} at batch {row.batch}" for row in rows if not row.warm]
    if cold:
        yield f"still warming up when its time was over: {_listed(cold)}"
    moved = [f"{row.name} at batch {row.batch}" for row in rows if row.drift]
    if moved:
        yield f"drifted by more than {DRIFT_LIMIT:.0%} over the rounds: {_listed(moved)}"


def _of_the_machine(contentions: Iterable[Contention | None]) -> Iterator[str]:
    known = [found for found in contentions if found is not None]
    others = max((found.others for found in known), default=0.0)
    stolen = max((found.stolen for found in known), default=0.0)
    if others > _QUIET_OTHERS or stolen > _QUIET_STOLEN:
        yield (
            f"the machine was busy: other processes took up to {others:.0%} of the CPU, and the "
            f"hypervisor {stolen:.0%}"
        )


def few_samples(rows: tuple[BenchmarkRow, ...]) -> list[str]:
    """Return a note where the 99th percentile rests on few samples."""
    counts = [sum(map(len, row.samples_ms)) for row in rows if row.scenario == "latency"]
    if not counts or min(counts) >= _P99_SAMPLES:
        return []
    return [f"p99 rests on as few as {min(counts)} samples; raise --seconds to quote it"]


def _listed(names: list[str]) -> str:
    once = list(dict.fromkeys(names))
    more = f" and {len(once) - _NAMED} more" if len(once) > _NAMED else ""
    return ", ".join(once[:_NAMED]) + more
