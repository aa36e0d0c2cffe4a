"""Warm-up and interleaving, on a clock that only steps move."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import chain, repeat

import pytest

from tresnet_deploy.timing import QUICK, Schedule, interleaved, steps_for, warm_up

from .conftest import FakeClock, FakeSession


def test_steps_run_for_the_asked_time(clock: FakeClock) -> None:
    session = FakeSession(clock, repeat(0.010))
    assert steps_for(session, 0.045, at_least=1, clock=clock) == pytest.approx([10.0] * 5)


def test_a_slow_step_still_runs_the_least_number_of_times(clock: FakeClock) -> None:
    session = FakeSession(clock, repeat(9.0))
    assert len(steps_for(session, 0.1, at_least=3, clock=clock)) == 3


def test_warm_up_goes_on_until_two_windows_agree(clock: FakeClock, schedule: Schedule) -> None:
    session = FakeSession(clock, chain([0.05, 0.05, 0.04, 0.03], repeat(0.02)))
    assert warm_up(session, schedule, clock=clock)
    assert 0.2 < clock.now < schedule.warmup_max_s


def test_warm_up_that_never_settles_ends_at_its_limit(clock: FakeClock, schedule: Schedule) -> None:
    slower = (0.01 * 1.1**step for step in range(1000))
    assert not warm_up(FakeSession(clock, slower), schedule, clock=clock)
    assert clock.now < 2 * schedule.warmup_max_s


def test_every_round_holds_one_turn_of_every_contestant(
    clock: FakeClock, schedule: Schedule
) -> None:
    log: list[str] = []
    names = ("a", "b", "c")
    sessions = tuple(FakeSession(clock, repeat(0.2), log=log, name=name) for name in names)
    measured = interleaved(sessions, schedule, clock=clock)
    steps_of_a_turn = 1 + schedule.min_steps  # one to settle
    turns = log[-steps_of_a_turn * len(names) * schedule.rounds :: steps_of_a_turn]
    for first in range(0, len(turns), len(names)):
        assert sorted(turns[first : first + len(names)]) == ["a", "b", "c"]
    assert all(len(each.rounds_ms) == schedule.rounds for each in measured)


def test_the_order_of_turns_changes_but_the_same_seed_repeats_it(schedule: Schedule) -> None:
    def order() -> list[str]:
        log: list[str] = []
        clock = FakeClock()
        names = ("a", "b", "c", "d")
        sessions = tuple(FakeSession(clock, repeat(0.2), log=log, name=name) for name in names)
        interleaved(sessions, schedule, clock=clock)
        return log

    first = order()
    assert first == order()
    steps_of_a_round = 4 * (1 + schedule.min_steps)
    timed = first[-steps_of_a_round * schedule.rounds :]
    rounds = {
        tuple(timed[start : start + steps_of_a_round])
        for start in range(0, len(timed), steps_of_a_round)
    }
    assert len(rounds) > 1


def test_a_slow_phase_of_the_machine_hits_all_contestants_alike(schedule: Schedule) -> None:
    clock = FakeClock()

    def times(base: float) -> Iterator[float]:
        while True:
            yield base * (2.0 if clock.now > 2.0 else 1.0)

    fast, slow = interleaved(
        (FakeSession(clock, times(0.01)), FakeSession(clock, times(0.02))), schedule, clock=clock
    )
    ratios = [
        slow_round[-1] / fast_round[-1]
        for fast_round, slow_round in zip(fast.rounds_ms, slow.rounds_ms, strict=True)
    ]
    assert ratios.count(pytest.approx(2.0)) >= schedule.rounds - 1


def test_steps_after_another_contestants_turn_settle_untimed(
    clock: FakeClock, schedule: Schedule
) -> None:
    log: list[str] = []

    class Cold(FakeSession):
        """Slow whenever another one ran just before."""

        def step(self) -> None:
            clock.now += 0.5 if log and log[-1] != self.name else 0.0
            super().step()

    sessions = (
        Cold(clock, repeat(0.01), log=log, name="a"),
        Cold(clock, repeat(0.01), log=log, name="b"),
    )
    measured = interleaved(sessions, schedule, clock=clock)
    samples = [time for each in measured for times in each.rounds_ms for time in times]
    assert max(samples) == pytest.approx(10.0)


def test_the_garbage_collector_is_off_while_timing_and_on_again_afterwards(
    clock: FakeClock, schedule: Schedule
) -> None:
    seen: list[bool] = []

    class Watcher(FakeSession):
        def step(self) -> None:
            seen.append(gc.isenabled())
            super().step()

    interleaved((Watcher(clock, repeat(0.01)),), schedule, clock=clock)
    assert not all(seen)
    assert gc.isenabled()


def test_progress_counts_warm_ups_and_turns_to_the_end(clock: FakeClock) -> None:
    told: list[tuple[int, int | None, str]] = []
    interleaved(
        (FakeSession(clock, repeat(0.01)), FakeSession(clock, repeat(0.01))),
        QUICK,
        clock=clock,
        progress=lambda done, total, what: told.append((done, total, what)),
        what="timing batch 8",
    )
    assert told[0] == (1, 8, "timing batch 8")
    assert told[-1] == (8, 8, "timing batch 8")
