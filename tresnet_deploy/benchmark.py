"""Measure engines beside eager PyTorch: this file is about one interleaved run as a report.

Two scenarios, never divided by one another. ``latency``: batch 1, the next request after the last
returns. ``throughput``: a sweep of batch sizes, images a second from the time of whole rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from tresnet_deploy import environment
from tresnet_deploy.contracts import Array, Batch, Precision, Progress, Session, no_progress
from tresnet_deploy.doubts import doubts, few_samples
from tresnet_deploy.environment import Contention
from tresnet_deploy.errors import StepError, UnavailableError, UsageError
from tresnet_deploy.gpu_watch import Watch, watched
from tresnet_deploy.metrics import cosine
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow
from tresnet_deploy.speedups import (
    Scenario,
    drifted,
    round_speeds,
    verdicts,
    with_ratios,
)
from tresnet_deploy.timing import (
    Clock,
    DeviceSession,
    Measurement,
    Rounds,
    Schedule,
    interleaved,
)

Parity = Literal["pass", "fail", "not checked", "baseline"]

LATENCY_BATCH: Final = 1
_PERCENTILES: Final = (50, 90, 99)
_DIGITS_MS: Final = 4  # a tenth of a microsecond: the clock's own resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something to time. ``open`` returns a session for a batch size, with real images bound.

    ``batch`` bounds the sizes it takes, None takes all. Baselines (``parity`` "baseline") are
    eager PyTorch in its forms; the first of them is what ratios are against. ``transfers`` times
    steps that copy in and out; it and ``cuda_graph`` are None where no GPU is. ``equivalent``
    returns the vendor's command that measures a batch size.
    """

    name: str
    backend: str
    precision: Precision
    parity: Parity
    open: Callable[[int], Session]
    batch: Batch | None = None
    size_mib: float | None = None
    sha256: str | None = None
    cuda_graph: bool | None = None
    transfers: bool | None = None
    equivalent: Callable[[int], str] | None = None

    def takes(self, batch: int) -> bool:
        """Return whether a batch size is within its bounds."""
        return self.batch is None or self.batch.takes(batch)


@dataclass(frozen=True, slots=True)
class _Opened:
    contestant: Contestant
    session: Session
    open_s: float
    memory_mib: float | None


@dataclass(frozen=True, slots=True)
class _Measured:
    rows: tuple[BenchmarkRow, ...]
    notes: tuple[str, ...]
    contention: Contention | None
    watch: Watch


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

    Batch 1, the latency scenario, is measured too wherever an engine takes it; a size that none
    takes is left out, as PyTorch alone would be compared with nothing. ``quick`` marks the report
    as one that nobody should publish.

    Raises:
        UsageError: two contestants have one name, there is none, no engine takes any of the batch
            sizes, or one is below 1.
        RunError: an engine failed; a baseline that fails is left out with a note.
    """
    schedule = schedule or Schedule()
    batches = tuple(sorted({LATENCY_BATCH, *batches}))
    _check(contestants, batches)
    sizes = _taken(contestants, batches)
    facts = environment.describe()
    parts = [_at_batch(contestants, batch, schedule, clock, progress) for batch in sizes]
    rows = tuple(row for part in parts for row in part.rows)
    rows = with_ratios(rows, baseline=_baseline(contestants))
    left_out = [_refusal(each, b) for b in batches for each in contestants if not each.takes(b)]
    left_out += [note for part in parts for note in part.notes]
    return BenchmarkReport(
        architecture=architecture,
        rows=rows,
        rounds=schedule.rounds,
        seconds_per_round=schedule.seconds,
        environment={
            **facts,
            "load average after": environment.load_average(),
            **parts[-1].watch.describe(),
        },
        verdicts=verdicts(rows),
        doubts=tuple(
            doubts(
                rows,
                schedule,
                quick=quick,
                contentions=[part.contention for part in parts],
                watches=[part.watch for part in parts],
            )
        ),
        notes=tuple(dict.fromkeys((*notes, *left_out, *few_samples(rows)))),
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


def _taken(contestants: tuple[Contestant, ...], batches: tuple[int, ...]) -> tuple[int, ...]:
    engines = [each for each in contestants if each.parity != "baseline"]
    sizes = tuple(b for b in batches if not engines or any(each.takes(b) for each in engines))
    if not sizes:
        best = ",".join(map(str, sorted({each.batch.opt for each in engines if each.batch})))
        raise UsageError(
            f"no engine takes batches of {' or '.join(map(str, batches))}",
            hints=(f"--batches {best}, which they are built for",),
        )
    return sizes


def _refusal(contestant: Contestant, batch: int) -> str:
    assert contestant.batch is not None
    taken = contestant.batch.span
    return f"{contestant.name} takes batches of {taken}: left out at batch {batch}"


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
        for contestant in (each for each in contestants if each.takes(batch)):
            one = _open(contestant, batch, clock, notes)
            if one is not None:
                stack.enter_context(closing(one.session))
                opened.append(one)
        before = environment.cpu_time()
        sessions = tuple(one.session for one in opened)
        what = f"timing batch {batch}"
        with _watched(sessions) as watch:
            measurements = interleaved(
                sessions, schedule, clock=clock, progress=progress, what=what
            )
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
    return _Measured(rows, tuple(notes), contention, watch)


def _watched(sessions: tuple[Session, ...]) -> AbstractContextManager[Watch]:
    on_gpu = [session for session in sessions if isinstance(session, DeviceSession)]
    return watched(on_gpu[0].gpu_id()) if on_gpu else nullcontext(Watch())


def _open(contestant: Contestant, batch: int, clock: Clock, notes: list[str]) -> _Opened | None:
    begin = clock()
    try:
        session = contestant.open(batch)
        session.step()  # compiles what compiles at the first run, outside every timed step
    except (StepError, UnavailableError) as error:
        if contestant.parity != "baseline":
            raise
        notes.append(f"{contestant.name} is left out at batch {batch}: {error.message}")
        return None
    open_s = clock() - begin
    memory_mib = session.memory_mib() if isinstance(session, DeviceSession) else None
    return _Opened(contestant, session, open_s, memory_mib)


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
    who = one.contestant
    samples, device = _rounded(measurement.rounds_ms), _rounded(measurement.device_ms)
    speeds = round_speeds(samples, batch, scenario)
    p50, p90, p99 = np.percentile(np.concatenate(samples), _PERCENTILES)
    return BenchmarkRow(
        name=who.name,
        backend=who.backend,
        precision=who.precision,
        batch=batch,
        scenario=scenario,
        p50_ms=float(p50),
        p90_ms=float(p90),
        p99_ms=float(p99),
        images_per_s=float(np.median(speeds)),
        ratio=None,
        drift=drifted(speeds),
        parity=who.parity,
        size_mib=who.size_mib,
        samples_ms=samples,
        cv=float(np.std(speeds) / np.mean(speeds)),
        warm=measurement.warm,
        open_s=round(one.open_s, 3),
        cosine_min=cosine_min,
        sha256=who.sha256,
        device_p50_ms=float(np.median(np.concatenate(device))) if device else None,
        device_samples_ms=device,
        memory_mib=one.memory_mib,
        cuda_graph=who.cuda_graph,
        transfers=who.transfers,
        equivalent=who.equivalent(batch) if who.equivalent else None,
    )


def _rounded(rounds: Rounds) -> Rounds:
    return tuple(tuple(round(time_ms, _DIGITS_MS) for time_ms in times) for times in rounds)
