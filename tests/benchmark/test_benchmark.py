"""One run as a report: rows, parity, notes, what makes a report unfit for publication."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tresnet_deploy import environment
from tresnet_deploy.artifacts import from_json, to_json
from tresnet_deploy.benchmark import Contestant, benchmark
from tresnet_deploy.contracts import Batch, Session
from tresnet_deploy.errors import RunError, UsageError
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow
from tresnet_deploy.timing import Schedule

from .conftest import FakeClock, MakeContestant


@pytest.fixture(autouse=True)
def quiet_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "cpu_time", lambda: None)


@pytest.fixture
def measure(clock: FakeClock, schedule: Schedule):  # type: ignore[no-untyped-def]
    def run(*contestants: Contestant, **options: object) -> BenchmarkReport:
        return benchmark(
            contestants,
            architecture="tresnet_m",
            schedule=options.pop("schedule", schedule),  # type: ignore[arg-type]
            clock=clock,
            **options,  # type: ignore[arg-type]
        )

    return run


def find(report: BenchmarkReport, name: str, scenario: str, batch: int) -> BenchmarkRow:
    return next(
        row for row in report.rows if (row.name, row.scenario, row.batch) == (name, scenario, batch)
    )


def test_latency_is_batch_one_and_throughput_sweeps_the_batches(
    measure, contestant: MakeContestant
) -> None:
    report = measure(contestant("eager", 10.0, parity="baseline"), batches=(2, 8))
    assert [(row.scenario, row.batch) for row in report.rows] == [
        ("latency", 1),
        ("throughput", 1),
        ("throughput", 2),
        ("throughput", 8),
    ]
    assert find(report, "eager", "throughput", 8).p50_ms == pytest.approx(80.0)
    assert find(report, "eager", "throughput", 8).images_per_s == pytest.approx(100.0)


def test_percentiles_are_over_all_samples_of_all_rounds(
    measure, contestant: MakeContestant
) -> None:
    row = measure(contestant("engine", *[1.0] * 95, *[9.0] * 5), batches=()).rows[0]
    assert (row.p50_ms, row.p90_ms, row.p99_ms) == pytest.approx((1.0, 1.0, 9.0))


def test_ratios_are_against_the_first_baseline(measure, contestant: MakeContestant) -> None:
    report = measure(
        contestant("eager", 40.0, parity="baseline"),
        contestant("eager bf16", 20.0, parity="baseline", precision="bf16"),
        contestant("int8", 10.0, precision="int8"),
    )
    ratio = find(report, "int8", "throughput", 8).ratio
    assert ratio is not None
    assert (ratio.baseline, ratio.value) == ("eager", pytest.approx(4.0))


def test_without_pytorch_the_first_fp32_engine_is_the_baseline(
    measure, contestant: MakeContestant
) -> None:
    report = measure(contestant("int8", 10.0, precision="int8"), contestant("fp32", 30.0))
    ratio = find(report, "int8", "latency", 1).ratio
    assert ratio is not None
    assert (ratio.baseline, ratio.value) == ("fp32", pytest.approx(3.0))


def test_outputs_are_compared_within_the_run(measure, contestant: MakeContestant) -> None:
    report = measure(
        contestant("eager", 40.0, parity="baseline", output=np.array([[1.0, 0.0], [0.0, 1.0]])),
        contestant("int8", 10.0, output=np.array([[2.0, 0.0], [1.0, 1.0]])),
        contestant("other head", 10.0, output=np.zeros((2, 3))),
    )
    assert find(report, "eager", "latency", 1).cosine_min == pytest.approx(1.0)
    assert find(report, "int8", "latency", 1).cosine_min == pytest.approx(0.5**0.5)
    assert find(report, "other head", "latency", 1).cosine_min is None


def test_a_batch_outside_an_engines_range_is_left_out_with_a_note(
    measure, contestant: MakeContestant
) -> None:
    report = measure(contestant("int8", 10.0, batch=Batch(min=1, opt=1, max=1)), batches=(8,))
    assert {row.batch for row in report.rows} == {1}
    assert "int8 takes batches of 1: left out at batch 8" in report.notes


def test_a_baseline_that_cannot_run_is_left_out_but_an_engine_may_not_fail(
    measure, contestant: MakeContestant
) -> None:
    def broken(_batch: int) -> Session:
        raise RunError("no C++ compiler")

    compiled = contestant("compiled", 1.0, parity="baseline")
    report = measure(
        contestant("eager", 40.0, parity="baseline"), dataclasses.replace(compiled, open=broken)
    )
    assert {row.name for row in report.rows} == {"eager"}
    assert "compiled is left out at batch 1: no C++ compiler" in report.notes
    with pytest.raises(RunError, match=r"no C\+\+ compiler"):
        measure(dataclasses.replace(contestant("int8", 1.0), open=broken))


def test_every_session_is_closed_even_when_one_fails(
    measure, contestant: MakeContestant, clock: FakeClock
) -> None:
    sessions: list[Session] = []
    good = contestant("good", 10.0)

    def remembered(batch: int) -> Session:
        sessions.append(good.open(batch))
        return sessions[-1]

    def broken(_batch: int) -> Session:
        raise RunError("device lost")

    with pytest.raises(RunError, match="device lost"):
        measure(
            dataclasses.replace(good, open=remembered),
            dataclasses.replace(contestant("bad", 1.0), open=broken),
        )
    assert [session.log[-1] for session in sessions] == ["close good"]  # type: ignore[attr-defined]


def test_a_steady_full_run_is_publishable(measure, contestant: MakeContestant) -> None:
    assert measure(contestant("eager", 0.5, parity="baseline")).publishable


def test_a_quick_run_says_it_is_not_for_publication(measure, contestant: MakeContestant) -> None:
    report = measure(contestant("eager", 10.0, parity="baseline"), quick=True)
    assert not report.publishable
    assert report.doubts == ("this was a quick run",)


def test_a_busy_machine_makes_a_report_unpublishable(
    measure, contestant: MakeContestant, monkeypatch: pytest.MonkeyPatch
) -> None:
    moments = iter(
        environment.CpuTime(total_s=10.0 * n, idle_s=0.0, stolen_s=0.0, own_s=7.0 * n)
        for n in range(9)
    )
    monkeypatch.setattr(environment, "cpu_time", lambda: next(moments))
    report = measure(contestant("eager", 0.5, parity="baseline"))
    assert not report.publishable
    assert report.doubts == (
        "the machine was busy: other processes took up to 30% of the CPU, and the hypervisor 0%",
    )


def test_drift_is_flagged_and_noted(measure, contestant: MakeContestant) -> None:
    slowing = [10.0 * 1.004**step for step in range(400)]
    report = measure(contestant("eager", *slowing, parity="baseline"), batches=())
    assert report.rows[0].drift
    assert report.doubts == ("drifted by more than 5% over the rounds: eager at batch 1",)


def test_too_few_rounds_for_an_interval_are_a_doubt(
    measure, contestant: MakeContestant, schedule: Schedule
) -> None:
    short = dataclasses.replace(schedule, rounds=4)
    report = measure(contestant("eager", 0.5, parity="baseline"), schedule=short)
    assert report.doubts == ("4 rounds are too few for an interval; 5 are not",)


def test_a_doubt_names_a_few_rows_and_counts_the_others(
    measure, contestant: MakeContestant
) -> None:
    unsteady = [1.0 * 1.1**step for step in range(300)]
    names = ("a", "b", "c", "d", "e")
    report = measure(*(contestant(name, *unsteady) for name in names), batches=())
    assert "a at batch 1, b at batch 1, c at batch 1 and 2 more" in report.doubts[0]


def test_few_samples_are_said_to_be_few(measure, contestant: MakeContestant) -> None:
    report = measure(contestant("eager", 50.0, parity="baseline"))
    assert any("p99 rests on as few as" in note for note in report.notes)


def test_a_report_keeps_raw_samples_and_survives_json(measure, contestant: MakeContestant) -> None:
    report = measure(contestant("eager", 10.0, parity="baseline"), contestant("int8", 2.5))
    again = from_json(to_json(report), BenchmarkReport, name="benchmark.json")
    assert again == report
    assert len(again.rows[0].samples_ms) == again.rounds


def test_the_environment_is_in_the_report(measure, contestant: MakeContestant) -> None:
    facts = measure(contestant("eager", 10.0, parity="baseline")).environment
    assert {"processor", "cores", "Python", "numpy", "tresnet-deploy"} <= facts.keys()


@pytest.mark.parametrize(
    ("names", "batches", "message"),
    [
        ((), (1,), "nothing to benchmark"),
        (("int8", "int8"), (1,), "same name: int8"),
        (("int8",), (0,), "at least 1 image, not 0"),
    ],
)
def test_a_request_that_makes_no_sense_is_a_usage_error(
    measure, contestant: MakeContestant, names: tuple[str, ...], batches: tuple[int, ...], message
) -> None:
    with pytest.raises(UsageError, match=message):
        measure(*(contestant(name, 10.0) for name in names), batches=batches)
