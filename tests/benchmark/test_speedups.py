"""Ratios, intervals, drift and verdicts, on times that are given."""

from __future__ import annotations

import numpy as np
import pytest

from tresnet_deploy.contracts import Precision
from tresnet_deploy.results import BenchmarkRow, Interval, Ratio
from tresnet_deploy.speedups import (
    drifted,
    headline_rows,
    ratio_between,
    round_speeds,
    times,
    verdicts,
    with_ratios,
)

EAGER = "pytorch eager fp32"


def row(
    name: str,
    rounds_ms: tuple[tuple[float, ...], ...],
    *,
    parity: str = "pass",
    batch: int = 1,
    scenario: str = "latency",
    precision: Precision = "fp32",
) -> BenchmarkRow:
    speeds = round_speeds(rounds_ms, batch, scenario)  # type: ignore[arg-type]
    return BenchmarkRow(
        name=name,
        backend=name.partition(" ")[0],
        precision=precision,
        batch=batch,
        scenario=scenario,  # type: ignore[arg-type]
        p50_ms=1.0,
        p90_ms=1.0,
        p99_ms=1.0,
        images_per_s=float(np.median(speeds)),
        ratio=None,
        drift=False,
        parity=parity,  # type: ignore[arg-type]
        samples_ms=rounds_ms,
    )


def constant(ms: float, rounds: int = 5) -> tuple[tuple[float, ...], ...]:
    return ((ms, ms, ms),) * rounds


def test_latency_comes_from_medians_and_throughput_from_all_the_time() -> None:
    one_slow_step = ((10.0, 10.0, 40.0),)
    assert round_speeds(one_slow_step, 1, "latency") == pytest.approx([100.0])
    assert round_speeds(one_slow_step, 8, "throughput") == pytest.approx([8 * 3 / 0.060])


def test_a_ratio_is_paired_so_a_slow_round_of_the_machine_cancels() -> None:
    phases = (1.0, 3.0, 1.0, 2.0, 1.5)
    eager = row(EAGER, tuple((40.0 * phase,) for phase in phases))
    engine = row("openvino int8", tuple((10.0 * phase,) for phase in phases))
    ratio = ratio_between(engine, eager)
    assert ratio.value == pytest.approx(4.0)
    assert (ratio.interval.low, ratio.interval.high) == pytest.approx((4.0, 4.0))


def test_the_interval_covers_the_scatter_of_the_rounds_and_repeats_exactly() -> None:
    eager = row(EAGER, constant(40.0))
    engine = row("openvino int8", tuple((ms,) for ms in (9.0, 9.5, 10.0, 10.5, 11.0)))
    first, second = ratio_between(engine, eager), ratio_between(engine, eager)
    assert first == second
    assert 40 / 11 <= first.interval.low < first.value < first.interval.high <= 40 / 9


def test_a_95_percent_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    truth, hits, runs = 4.0, 0, 200
    noise = np.random.default_rng(1)
    for _ in range(runs):
        eager = row(EAGER, tuple((ms,) for ms in 40.0 * noise.lognormal(0, 0.05, 9)))
        engine = row("openvino int8", tuple((ms,) for ms in 10.0 * noise.lognormal(0, 0.05, 9)))
        interval = ratio_between(engine, eager).interval
        hits += interval.low <= truth <= interval.high
    assert hits / runs > 0.90


def test_a_row_that_failed_parity_gets_no_speed_up() -> None:
    rows = with_ratios(
        (
            row(EAGER, constant(40.0), parity="baseline"),
            row("openvino int8", constant(10.0), parity="fail"),
        ),
        baseline=EAGER,
    )
    assert rows[1].ratio is None
    assert rows[1].best_pytorch is None
    assert verdicts(rows) == (
        "openvino int8 failed parity: it is timed, but no speed-up is claimed for it",
    )


def test_an_engine_is_compared_with_the_fastest_pytorch_too() -> None:
    rows = with_ratios(
        (
            row(EAGER, constant(40.0), parity="baseline"),
            row("pytorch compiled bf16", constant(20.0), parity="baseline"),
            row("openvino int8", constant(10.0)),
        ),
        baseline=EAGER,
    )
    assert rows[2].best_pytorch is not None
    assert rows[2].best_pytorch.baseline == "pytorch compiled bf16"
    assert rows[2].best_pytorch.value == pytest.approx(2.0)
    assert rows[1].best_pytorch is None


def test_rows_of_other_batches_and_scenarios_are_never_divided() -> None:
    rows = with_ratios(
        (
            row(EAGER, constant(40.0), parity="baseline", batch=1),
            row("openvino int8", constant(10.0), batch=8, scenario="throughput"),
        ),
        baseline=EAGER,
    )
    assert rows[1].ratio is None


def test_the_winner_is_named_with_its_ratio_and_interval() -> None:
    rows = with_ratios(
        (
            row(EAGER, constant(40.0), parity="baseline"),
            row("openvino fp32", constant(20.0)),
            row("openvino int8", constant(10.0), precision="int8"),
        ),
        baseline=EAGER,
    )
    assert verdicts(rows) == (
        "latency, batch 1: openvino int8 is the fastest, "
        "4.00x (95 % 4.00 to 4.00) pytorch eager fp32",
    )


def test_a_winner_without_a_parity_check_says_so() -> None:
    rows = with_ratios(
        (
            row(EAGER, constant(40.0), parity="baseline"),
            row("openvino int8", constant(10.0), parity="not checked"),
        ),
        baseline=EAGER,
    )
    assert "openvino int8 (parity not checked)" in verdicts(rows)[0]


def test_int8_that_is_slower_than_fp32_gets_a_negative_verdict() -> None:
    rows = with_ratios(
        (
            row(EAGER, constant(40.0), parity="baseline"),
            row("openvino fp32", constant(10.0)),
            row("openvino int8", constant(12.5), precision="int8"),
        ),
        baseline=EAGER,
    )
    assert verdicts(rows)[-1] == (
        "latency, batch 1: int8 is slower than fp32 on openvino here "
        "(0.80x (95 % 0.80 to 0.80)): ship fp32"
    )


def test_batch_one_is_judged_once_though_it_is_in_both_scenarios() -> None:
    rows = with_ratios(
        tuple(
            row(name, constant(ms), parity=parity, scenario=scenario)
            for scenario in ("latency", "throughput")
            for name, ms, parity in ((EAGER, 40.0, "baseline"), ("openvino int8", 10.0, "pass"))
        ),
        baseline=EAGER,
    )
    assert len(verdicts(rows)) == 1


def test_no_engine_faster_than_eager_is_said_plainly() -> None:
    rows = with_ratios(
        (
            row(EAGER, constant(40.0), parity="baseline"),
            row("openvino fp32", tuple((ms,) for ms in (39.0, 41.0, 40.0, 38.0, 42.0))),
        ),
        baseline=EAGER,
    )
    assert verdicts(rows) == (f"latency, batch 1: no engine is measurably faster than {EAGER}",)


def test_a_speed_that_moves_over_the_rounds_is_drift_and_scatter_is_not() -> None:
    assert drifted(np.array([100.0, 100, 98, 94, 92, 90]))
    assert not drifted(np.array([100.0, 90, 110, 95, 105, 100]))


def test_headlines_are_latency_and_the_best_batch_of_each_contestant() -> None:
    rows = (
        row("openvino int8", constant(10.0)),
        row("openvino int8", constant(10.0), scenario="throughput"),
        row("openvino int8", constant(40.0), batch=8, scenario="throughput"),
    )
    assert [(r.scenario, r.batch) for r in headline_rows(rows)] == [
        ("latency", 1),
        ("throughput", 8),
    ]


def test_a_ratio_reads_as_people_write_it() -> None:
    ratio = Ratio(baseline=EAGER, value=3.944, interval=Interval(low=3.88, high=4.012))
    assert times(ratio) == "3.94x (95 % 3.88 to 4.01)"
