"""Where blocks get noisier."""

from tresnet_deploy.metrics.falls import falls, steepest
from tresnet_deploy.results import BlockSnr


def blocks(*ratios: float | None) -> tuple[BlockSnr, ...]:
    return tuple(BlockSnr(block=str(i), snr_db=ratio) for i, ratio in enumerate(ratios))


def test_a_fall_is_from_one_block_to_the_next() -> None:
    assert falls(blocks(40.0, 30.0, 30.5, 28.0)) == {"1": 10.0, "3": 2.5}


def test_equal_outputs_and_small_falls_are_no_places_to_look_at() -> None:
    assert falls(blocks(None, 30.0, 29.5)) == {}


def test_the_steepest_come_first_and_are_few() -> None:
    assert steepest(blocks(60.0, 50.0, 30.0, 25.0, 23.0)) == ("2", "1", "3")
