"""Measure engines beside eager PyTorch: this file is about one interleaved run as a report.

Two scenarios, never divided by one another. ``latency``: batch 1, the next request after the last
returns. ``throughput``: a sweep of batch sizes, images a second from the time of whole rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tresnet_deploy import environment
from tresnet_deploy.contracts import Array, Batch, Precision, Progress, Session, no_progress
from tresnet_deploy.environment import Contention
from tresnet_deploy.errors import StepError, UnavailableError, UsageError
from tresnet_deploy.metrics import cosine
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow
from tresnet_deploy.speedups import (
    DRIFT_LIMIT,
    Scenario,
    drifted,
    round_speeds,
    verdicts,
    with_ratios,
)
from tresnet_deploy.timing import Clock, Measurement, Schedule, interleaved

Parity = Literal["pass", "fail", "not checked", "baseline"]

LATENCY_BATCH: Final = 1
_PERCENTILES: Final = (50, 90, 99)
_P99_SAMPLES: Final = 100  # with fewer, the 99th percentile is the slowest sample
_PUBLISHABLE_ROUNDS: Final = 5  # fewer rounds leave a bootstrap over rounds nothing to resample
_QUIET_OTHERS: Final = 0.05  # share of the CPU that moves a ratio by about as much
_QUIET_STOLEN: Final = 0.02
_NAMED: Final = 3  # rows that a doubt names; the table marks all
_DIGITS_MS: Final = 4  # a tenth of a microsecond: the clock's own resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something to time. ``open`` returns a session for a batch size, with real images bound.

    ``batch`` bounds the sizes it takes, None takes all. Baselines (``parity`` "baseline") are
    eager PyTorch in its forms; the first of them is what ratios are against.
    """

    name: str
    backend: str
    precision: Precision
    parity: Parity
    open: Callable[[int], Session]
    batch: Batch | None = None
    size_mib: float | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class _Opened:
    contestant: Contestant
    session: Session
    open_s: float


@dataclass(frozen=True, slots=True)
class _Measured:
    rows: tuple[BenchmarkRow, ...]
    notes: tuple[str, ...]
    contention: Contention | None


def benchmark(
    contestants: tuple[Contestant, ...],
    *,
    architecture: str,
    batches: tuple[int, ...] = (1, 8),
    schedule: Schedule | None = None,
    quick: bool = False,
    notes: tuple[str, ...] = (),
    clock: Clock = time.perf_counter,
    progress: Progress = no_progress,
) -> BenchmarkReport:
    """Return the report of one interleaved run of all ``contestants`` at all ``batches``.

    Batch 1 is measured always: it is the latency scenario. ``quick`` marks the report as one that
    nobody should publish.

    Raises:
        UsageError: two contestants have one name, there is none, or a batch size is below 1.
        RunError: an engine failed; a baseline that fails is left out with a note.
    """
    schedule = schedule or Schedule()
    batches = tuple(sorted({LATENCY_BATCH, *batches}))
    _check(contestants, batches)
    facts = environment.describe()
    parts = [_at_batch(contestants, batch, schedule, clock, progress) for batch in batches]
    rows = tuple(row for part in parts for row in part.rows)
    rows = with_ratios(rows, baseline=_baseline(contestants))
    left_out = [note for part in parts for note in part.notes]
    return BenchmarkReport(
        architecture=architecture,
        rows=rows,
        rounds=schedule.rounds,
        seconds_per_round=schedule.seconds,
        environment=facts | {"load average after": environment.load_average()},
        verdicts=verdicts(rows),
        doubts=tuple(_doubts(rows, parts, schedule, quick=quick)),
        notes=tuple(dict.fromkeys((*notes, *left_out, *_few_samples(rows)))),
    )


def _check(contestants: tuple[Contestant, ...], batches: tuple[int, ...]) -> None:
    names = [contestant.name for contestant in contestants]
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names:
        raise UsageError("there is nothing to benchmark: no engine, and no PyTorch model")
    if twice:
        raise UsageError(f"two contestants have the same name: {', '.join(twice)}")
    if batches[0] < 1:
        raise UsageError(f"a batch holds at least 1 image, not {batches[0]}")


def _baseline(contestants: tuple[Contestant, ...]) -> str:
    """Return whom ratios are against: eager PyTorch, else the first FP32 engine, else the first."""
    eager = (each.name for each in contestants if each.parity == "baseline")
    plain = (each.name for each in contestants if each.precision == "fp32")
    return next(eager, None) or next(plain, None) or contestants[0].name


def _at_batch(
    contestants: tuple[Contestant, ...],
    batch: int,
    schedule: Schedule,
    clock: Clock,
    progress: Progress,
) -> _Measured:
    notes: list[str] = []
    opened: list[_Opened] = []
    with ExitStack() as stack:
        for contestant in contestants:
            one = _open(contestant, batch, clock, notes)
            if one is not None:
                stack.enter_context(closing(one.session))
                opened.append(one)
        before = environment.cpu_time()
        sessions = tuple(one.session for one in opened)
        what = f"timing batch {batch}"
        measurements = interleaved(sessions, schedule, clock=clock, progress=progress, what=what)
        contention = environment.contention(before, environment.cpu_time())
        outputs = [_first_output(session) for session in sessions]
    scenarios: tuple[Scenario, ...] = ("throughput",)
    if batch == LATENCY_BATCH:
        scenarios = ("latency", "throughput")
    rows = tuple(
        _row(one, measurement, batch, scenario, _cosine_min(output, outputs[0]))
        for scenario in scenarios
        for one, measurement, output in zip(opened, measurements, outputs, strict=True)
    )
    return _Measured(rows, tuple(notes), contention)


def _open(contestant: Contestant, batch: int, clock: Clock, notes: list[str]) -> _Opened | None:
    limits = contestant.batch
    if limits is not None and not limits.min <= batch <= limits.max:
        taken = f"{limits.min}" if limits.fixed else f"{limits.min} to {limits.max}"
        notes.append(f"{contestant.name} takes batches of {taken}: left out at batch {batch}")
        return None
    begin = clock()
    try:
        session = contestant.open(batch)
        session.step()  # compiles what compiles at the first run, outside every timed step
    except (StepError, UnavailableError) as error:
        if contestant.parity != "baseline":
            raise
        notes.append(f"{contestant.name} is left out at batch {batch}: {error.message}")
        return None
    return _Opened(contestant, session, clock() - begin)


def _first_output(session: Session) -> Array:
    return np.asarray(next(iter(session.fetch().values())))


def _cosine_min(output: Array, baseline: Array) -> float | None:
    """Return the smallest cosine over the samples of a batch, None for outputs of other shapes."""
    if output.shape != baseline.shape:
        return None
    rows = len(output)
    return float(cosine(baseline.reshape(rows, -1), output.reshape(rows, -1)).min())


def _row(
    one: _Opened, measurement: Measurement, batch: int, scenario: Scenario, cosine_min: float | None
) -> BenchmarkRow:
    samples = tuple(tuple(round(t, _DIGITS_MS) for t in r) for r in measurement.rounds_ms)
    speeds = round_speeds(samples, batch, scenario)
    p50, p90, p99 = np.percentile(np.concatenate(samples), _PERCENTILES)
    return BenchmarkRow(
        name=one.contestant.name,
        backend=one.contestant.backend,
        precision=one.contestant.precision,
        batch=batch,
        scenario=scenario,
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        images_per_s=float(np.median(speeds)),
        ratio=None,
        drift=drifted(speeds),
        parity=one.contestant.parity,
        size_mib=one.contestant.size_mib,
        samples_ms=samples,
        cv=float(np.std(speeds) / np.mean(speeds)),
        warm=measurement.warm,
        open_s=round(one.open_s, 3),
        cosine_min=cosine_min,
        sha256=one.contestant.sha256,
    )


def _doubts(
    rows: tuple[BenchmarkRow, ...], parts: list[_Measured], schedule: Schedule, *, quick: bool
) -> Iterator[str]:
    """Give the reasons for which nobody should publish these times."""
    if quick:
        yield "this was a quick run"
    elif schedule.rounds < _PUBLISHABLE_ROUNDS:
        yield f"{schedule.rounds} rounds are too few for an interval; {_PUBLISHABLE_ROUNDS} are not"
    known = [part.contention for part in parts if part.contention is not None]
    others = max((found.others for found in known), default=0.0)
    stolen = max((found.stolen for found in known), default=0.0)
    if others > _QUIET_OTHERS or stolen > _QUIET_STOLEN:
        yield (
            f"the machine was busy: other processes took up to {others:.0%} of the CPU, and the "
            f"hypervisor {stolen:.0%}"
        )
    cold = [f"{row.name} at batch {row.batch}" for row in rows if not row.warm]
    if cold:
        yield f"still warming up when its time was over: {_listed(cold)}"
    moved = [f"{row.name} at batch {row.batch}" for row in rows if row.drift]
    if moved:
        yield f"drifted by more than {DRIFT_LIMIT:.0%} over the rounds: {_listed(moved)}"


def _few_samples(rows: tuple[BenchmarkRow, ...]) -> list[str]:
    counts = [sum(map(len, row.samples_ms)) for row in rows if row.scenario == "latency"]
    if not counts or min(counts) >= _P99_SAMPLES:
        return []
    return [f"p99 rests on as few as {min(counts)} samples; raise --seconds to quote it"]


def _listed(names: list[str]) -> str:
    once = list(dict.fromkeys(names))
    more = f" and {len(once) - _NAMED} more" if len(once) > _NAMED else ""
    return ", ".join(once[:_NAMED]) + more
