"""Verdicts on given scores: no session runs, no image is read."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tresnet_deploy.contracts import Array, Labels
from tresnet_deploy.metrics import Truth
from tresnet_deploy.parity import Stage
from tresnet_deploy.parity.verdicts import Ground, judge_stages
from tresnet_deploy.results import StageParity

MakeStage = Callable[..., Stage]
ONE = Labels(classes=1, names=("cat",), multi_label=True)
ABC = Labels(classes=3, names=("a", "b", "c"))


def judged(
    scores: Array, answers: Array, labels: Labels, truth: Truth, make_stage: MakeStage
) -> StageParity:
    ground = Ground(
        scores=scores,
        names=tuple(f"{number}.png" for number in range(len(scores))),
        truth=truth,
        labels=labels,
        class_names=labels.names,
    )
    (found,) = judge_stages(
        (make_stage("engine", precision="int8"),), (answers,), ground, ground.accuracy()
    )
    return found


@pytest.fixture
def logits() -> Array:
    return np.random.default_rng(0).normal(scale=2, size=(40, 1)).astype(np.float32)


def test_one_output_that_answers_a_constant_fails(logits: Array, make_stage: MakeStage) -> None:
    found = judged(logits, np.full_like(logits, 1000), ONE, (None,) * 40, make_stage)
    assert not found.passed
    assert found.cosine_min == -1
    assert found.top1_agreement == (logits > 0).mean()
    assert found.flips[0].reference == "not cat"
    assert found.flips[0].candidate == "cat"
    assert found.flips[0].margin == pytest.approx(-logits.min())


def test_one_output_passes_with_the_noise_of_int8_though_signs_change_near_zero(
    logits: Array, make_stage: MakeStage
) -> None:
    noise = np.random.default_rng(1).normal(scale=0.1, size=logits.shape).astype(np.float32)
    logits[0], noise[0] = 0.01, -0.05
    truth = tuple((0,) if logit > 0 else () for logit in logits)
    found = judged(logits, logits + noise, ONE, truth, make_stage)
    assert found.passed
    assert found.flips
    assert {flip.outcome for flip in found.flips} == {"now wrong"}
    assert found.flips[-1].image == "0.png"


@pytest.mark.parametrize("lost", [np.nan, np.inf])
@pytest.mark.parametrize("several", [False, True])
def test_an_answer_without_numbers_is_wrong_whatever_the_image_shows(
    lost: float, make_stage: MakeStage, *, several: bool
) -> None:
    scores = np.eye(3, dtype=np.float32)[[0, 0, 0, 1]]
    labels = replace(ABC, multi_label=several)
    truth = ((0,), (0,), (0,), (1,))
    found = judged(scores, np.full_like(scores, lost), labels, truth, make_stage)
    assert found.accuracy is not None
    if several:
        assert (found.accuracy.cf1, found.accuracy.of1) == (0, 0)
    else:
        assert (found.accuracy.top1, found.accuracy.top5, found.accuracy.drop) == (0, 0, 1)


@pytest.mark.parametrize(
    ("shown", "label", "outcome"),
    [
        ((0,), "a", "now wrong"),
        ((1,), "b", "now right"),
        ((2,), "c", "wrong before and after"),
        ((0, 2), "a, c", "now wrong"),
        ((0, 1), "a, b", "right before and after"),
        ((), "", "wrong before and after"),
        (None, None, None),
    ],
)
def test_a_flip_says_whose_answer_is_among_what_the_image_shows(
    shown: tuple[int, ...] | None, label: str | None, outcome: str | None, make_stage: MakeStage
) -> None:
    scores = np.array([[2, 1, 0]], np.float32)
    answers = np.array([[1, 2, 0]], np.float32)
    labels = replace(ABC, multi_label=True)
    found = judged(scores, answers, labels, (shown,), make_stage)
    (flip,) = found.flips
    assert (flip.label, flip.outcome) == (label, outcome)
