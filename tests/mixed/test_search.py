"""Which sets of blocks are tried, with a judge that is a formula."""

from collections.abc import Sequence

import pytest

from tresnet_deploy.int8_results import BlockLatency, Judged, LatencyTable
from tresnet_deploy.mixed.bounds import Bound
from tresnet_deploy.mixed.search import Candidate, Found, ranked, search

BLOCKS = tuple("abcdefgh")
BOUND = Bound(kind="min-agreement", share=0.99)


def table(**costs: float) -> LatencyTable:
    return LatencyTable(
        engine="openvino",
        device="CPU",
        batch=1,
        blocks=tuple(
            BlockLatency(block=block, float_ms=1 + costs.get(block, 1.0), int8_ms=1.0)
            for block in BLOCKS
        ),
    )


class Formula:
    """Agreement is 1 less the losses of the blocks that are INT8; it remembers what it judged."""

    def __init__(self, **losses: float) -> None:
        self.losses = losses
        self.judged: list[tuple[str, ...]] = []

    def __call__(self, kept: tuple[str, ...]) -> Judged:
        self.judged.append(kept)
        lost = sum(loss for block, loss in self.losses.items() if block not in kept)
        return Judged(agreement=1 - lost, snr_db=20.0)


def found(judge: Formula, ranking: Sequence[str] = BLOCKS) -> Found:
    return search(ranking, judge, BOUND, table())


def test_plain_int8_is_kept_where_it_meets_the_bound() -> None:
    judge = Formula(a=0.005)
    assert found(judge).kept == ()
    assert judge.judged == [()]


def test_the_one_block_that_hurts_is_kept_float() -> None:
    assert found(Formula(c=0.05), ranking=("c", *"abdefgh")).kept == ("c",)


def test_a_block_that_the_bound_does_not_need_is_given_back() -> None:
    judge = Formula(d=0.05)
    result = found(judge)  # d comes fourth, so a, b and c are kept with it at first
    assert result.kept == ("d",)
    assert len(set(judge.judged)) == len(judge.judged)


def test_blocks_are_in_the_order_of_the_network() -> None:
    result = found(Formula(f=0.05, b=0.05), ranking=("f", "b", *"acdegh"))
    assert result.kept == ("b", "f")


def test_a_bound_that_nothing_meets_finds_nothing_and_shows_what_was_tried() -> None:
    judge = Formula(a=0.5, h=0.5)
    result = found(judge)
    assert result.kept is None
    assert max(len(point.kept) for point in result.curve) == len(BLOCKS) - 1
    assert not any(point.met for point in result.curve)


def test_the_curve_marks_mixtures_that_none_beats() -> None:
    curve = found(Formula(d=0.05)).curve
    assert [point.latency_ms for point in curve] == sorted(point.latency_ms for point in curve)
    efficient = {point.kept for point in curve if point.efficient}
    assert efficient == {(), ("d",)}


def test_a_single_block_leaves_nothing_to_keep() -> None:
    latencies = LatencyTable(
        engine="x", device="", batch=1, blocks=(BlockLatency(block="a", float_ms=2, int8_ms=1),)
    )
    assert search(("a",), Formula(a=0.5), BOUND, latencies).kept is None


def test_noise_is_weighed_by_the_latency_that_it_costs_to_remove() -> None:
    candidates = [
        Candidate(block="dear", gain=0.5, cost_ms=5.0),
        Candidate(block="cheap", gain=0.3, cost_ms=1.0),
        Candidate(block="free", gain=0.1, cost_ms=-0.2),
        Candidate(block="useless", gain=-0.1, cost_ms=0.1),
    ]
    assert ranked(candidates, latency_ms=10.0) == ("free", "cheap", "dear", "useless")


def test_latencies_are_sums_over_the_blocks() -> None:
    latencies = table(a=3.0)
    assert latencies.of(()) == 8.0
    assert latencies.of(("a",)) == 11.0
    assert latencies.float_ms == pytest.approx(8 + 3 + 7)
