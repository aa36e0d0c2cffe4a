"""Timing sessions fairly: this file is about clocks, warm-up and interleaved rounds, no statistics.

Only ``Session.step`` is timed. Contestants take turns in every round, in an order shuffled anew
each round, so that a drifting clock frequency or a busy neighbour hits all of them alike. A session
on a GPU also tells the device's own time for each step, by CUDA events.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Protocol, runtime_checkable

import numpy as np

from tresnet_deploy.contracts import Progress, Session, no_progress

Clock = Callable[[], float]
Rounds = tuple[tuple[float, ...], ...]

_MS_PER_S: Final = 1000.0
_WINDOW_MIN_STEPS: Final = 2


@runtime_checkable
class DeviceSession(Session, Protocol):
    """A session on a GPU, whose work is queued by the host and timed by the device as well."""

    def device_ms(self) -> float:
        """Return the milliseconds that the last step took on the device."""

    def step_with_transfers(self) -> None:
        """Do what step does, with copies of inputs and outputs from and to pinned host memory."""

    def memory_mib(self) -> float:
        """Return the device memory that the session holds."""

    def gpu_id(self) -> str:
        """Return what nvidia-smi --id takes for the GPU it runs on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How long and how often each contestant runs.

    Each turn begins with ``settle_s`` of untimed steps: the runtime that ran before leaves cold
    caches and, for some milliseconds, spinning threads behind. Warm-up ends when the medians of two
    windows in a row differ by less than ``stable_within``, or after ``warmup_max_s``. The bounds
    follow trtexec's and MLPerf's habits, scaled to CPUs where a step takes tens of milliseconds.
    """

    rounds: int = 7
    seconds: float = 1.0
    min_steps: int = 5
    settle_s: float = 0.1
    window_s: float = 0.3
    warmup_max_s: float = 5.0
    stable_within: float = 0.02
    seed: int = 0


QUICK: Final = Schedule(rounds=3, seconds=0.3, min_steps=3, window_s=0.1, warmup_max_s=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Times of one contestant: one tuple of milliseconds for each round.

    ``warm`` is False when the warm-up ran into its limit before two windows agreed.
    ``device_ms`` are the device's own times of the very same steps, empty for CPU sessions.
    """

    rounds_ms: Rounds
    warm: bool
    device_ms: Rounds = ()


@dataclass(slots=True)
class _Turn:
    session: Session
    warm: bool = False
    rounds_ms: list[tuple[float, ...]] = field(default_factory=list)
    device_ms: list[tuple[float, ...]] = field(default_factory=list)


def steps_for(
    session: Session,
    seconds: float,
    *,
    at_least: int,
    clock: Clock,
    after_step: Callable[[], None] | None = None,
) -> list[float]:
    """Run ``session`` for ``seconds`` and at least ``at_least`` steps; return each step's ms.

    ``after_step`` is called outside of what is timed.
    """
    times: list[float] = []
    begin = clock()
    while True:
        before = clock()
        session.step()
        after = clock()
        times.append((after - before) * _MS_PER_S)
        if after_step is not None:
            after_step()
        if len(times) >= at_least and after - begin >= seconds:
            return times


def warm_up(session: Session, schedule: Schedule, *, clock: Clock) -> bool:
    """Run ``session`` until two windows in a row agree; False when the time limit came first."""
    begin = clock()
    previous: float | None = None
    while True:
        window = steps_for(session, schedule.window_s, at_least=_WINDOW_MIN_STEPS, clock=clock)
        median = float(np.median(window))
        if previous is not None and abs(median - previous) <= schedule.stable_within * previous:
            return True
        if clock() - begin >= schedule.warmup_max_s:
            return False
        previous = median


def interleaved(
    sessions: tuple[Session, ...],
    schedule: Schedule,
    *,
    clock: Clock = time.perf_counter,
    progress: Progress = no_progress,
    what: str = "timing",
) -> tuple[Measurement, ...]:
    """Warm up and time bound ``sessions`` in shuffled, interleaved rounds.

    The measurements come in the order of ``sessions``; ``what`` names the work to ``progress``.
    """
    turns = [_Turn(session=session) for session in sessions]
    total = len(turns) * (schedule.rounds + 1)
    done = 0
    for turn in turns:
        turn.warm = warm_up(turn.session, schedule, clock=clock)
        done += 1
        progress(done, total, what)
    order = np.random.default_rng(schedule.seed)
    for _ in range(schedule.rounds):
        for index in order.permutation(len(turns)):
            _one_turn(turns[index], schedule, clock)
            done += 1
            progress(done, total, what)
    return tuple(
        Measurement(
            rounds_ms=tuple(turn.rounds_ms), warm=turn.warm, device_ms=tuple(turn.device_ms)
        )
        for turn in turns
    )


def _one_turn(turn: _Turn, schedule: Schedule, clock: Clock) -> None:
    session, device_ms = turn.session, list[float]()
    on_gpu = isinstance(session, DeviceSession)

    def ask_device() -> None:
        assert isinstance(session, DeviceSession)
        device_ms.append(session.device_ms())

    steps_for(session, schedule.settle_s, at_least=1, clock=clock)
    with _no_garbage_collection():
        times = steps_for(
            session,
            schedule.seconds,
            at_least=schedule.min_steps,
            clock=clock,
            after_step=ask_device if on_gpu else None,
        )
    turn.rounds_ms.append(tuple(times))
    if on_gpu:
        turn.device_ms.append(tuple(device_ms))


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python's collector out of the timed steps, as timeit does."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
