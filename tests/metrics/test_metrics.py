"""Numbers here are worked out by hand or taken from the cited papers."""

import math

import numpy as np
import pytest

from tresnet_deploy import metrics
from tresnet_deploy.results import Interval


def scores(*rows: list[float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32)


def test_top_k_puts_the_lower_class_first_where_scores_tie() -> None:
    assert metrics.top_k(scores([1, 3, 3, 0]), 3).tolist() == [[1, 2, 0]]


def test_top_k_of_fewer_classes_returns_them_all() -> None:
    assert metrics.top_k(scores([1, 2]), 5).tolist() == [[1, 0]]


def test_a_constant_answer_is_right_for_the_first_class_only() -> None:
    constant = np.zeros((3, 4), np.float32)
    right = metrics.correct(constant, np.array([0, 1, 3]))
    assert right.tolist() == [True, False, False]


def test_top_five_of_a_constant_answer_holds_the_first_five_classes() -> None:
    right = metrics.correct(np.zeros((2, 9)), np.array([4, 5]), k=5)
    assert right.tolist() == [True, False]


def test_correct_agrees_with_top_k_on_random_scores_with_ties() -> None:
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 6, (200, 20))
    labels = rng.integers(0, 20, 200)
    for k in (1, 5):
        expected = (metrics.top_k(noisy, k) == labels[:, None]).any(axis=1)
        assert (metrics.correct(noisy, labels, k=k) == expected).all()


def test_overlap_is_the_share_of_common_best_classes() -> None:
    shared = metrics.overlap(scores([5, 4, 3, 2, 1, 0]), scores([0, 4, 3, 2, 1, 5]))
    assert shared.tolist() == pytest.approx([0.8])


def test_margins_are_leads_over_the_second_class() -> None:
    assert metrics.margins(scores([1, 5, 3], [2, 2, 0])).tolist() == [2, 0]


def test_one_output_is_judged_from_zero() -> None:
    logits = scores([3], [-1], [0])
    assert metrics.margins(logits).tolist() == [3, 1, 0]
    assert metrics.spread(logits) == pytest.approx((10 / 3) ** 0.5)
    assert metrics.decisions(logits).tolist() == [1, 0, 0]
    assert metrics.decisions(metrics.sigmoid(logits), "sigmoid").tolist() == [1, 0, 0]


def test_several_outputs_decide_for_the_best() -> None:
    assert metrics.decisions(scores([1, 5, 3], [2, 2, 0])).tolist() == [1, 0]


def test_the_cosine_of_one_output_is_that_of_unit_vectors_as_far_apart() -> None:
    logits = scores([1], [-1])
    assert metrics.cosine(logits, logits).tolist() == [1, 1]
    found = metrics.cosine(logits, scores([1.2], [-4]))
    assert found.tolist() == pytest.approx([1 - 0.2**2 / 2, -1])
    assert metrics.cosine(scores([0]), scores([0])).tolist() == [1]


def test_cosine_is_one_value_for_each_image() -> None:
    values = metrics.cosine(scores([1, 0], [1, 1], [1, 0]), scores([2, 0], [1, -1], [-3, 0]))
    assert values.tolist() == pytest.approx([1, 0, -1])


def test_cosine_of_two_zero_vectors_is_one_and_of_one_zero_vector_is_zero() -> None:
    values = metrics.cosine(scores([0, 0], [1, 2]), scores([0, 0], [0, 0]))
    assert values.tolist() == [1, 0]


def test_equal_images_have_a_cosine_of_exactly_one() -> None:
    same = np.random.default_rng(0).normal(size=(50, 1000)).astype(np.float32)
    assert (metrics.cosine(same, same) == 1).all()


def test_snr_is_twenty_decibels_for_a_tenth_of_noise() -> None:
    assert metrics.snr_db(scores([10, 0], [0, 10]), scores([9, 0], [0, 11])) == pytest.approx(20)


def test_snr_of_equal_scores_is_none() -> None:
    assert metrics.snr_db(scores([1, 2]), scores([1, 2])) is None


def test_spread_ignores_the_mean_of_an_image() -> None:
    assert metrics.spread(scores([9, 11], [-1, 1])) == pytest.approx(1)


def test_softmax_and_sigmoid_stand_extreme_logits() -> None:
    extreme = scores([1e4, -1e4])
    assert metrics.softmax(extreme).tolist() == [[1, 0]]
    assert metrics.sigmoid(extreme).tolist() == [[1, 0]]


def test_sigmoid_is_the_logistic_function() -> None:
    assert metrics.sigmoid(scores([0.7]))[0, 0] == pytest.approx(1 / (1 + math.exp(-0.7)))


def test_wilson_gives_the_textbook_interval() -> None:
    interval = metrics.wilson(81, 263)  # Newcombe, Statistics in Medicine 17 (1998), table I
    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=1e-4)


def test_wilson_stays_within_zero_and_one_without_failures() -> None:
    interval = metrics.wilson(29, 29)
    assert (interval.low, interval.high) == pytest.approx((0.8830, 1.0), abs=1e-4)


def test_wilson_of_no_trials_knows_nothing() -> None:
    assert metrics.wilson(0, 0) == Interval(low=0.0, high=1.0)


def flags(*, both: int, lost: int, gained: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    reference = [True] * (both + lost) + [False] * (gained + neither)
    candidate = [True] * both + [False] * lost + [True] * gained + [False] * neither
    return np.array(reference, dtype=bool), np.array(candidate, dtype=bool)


def test_paired_drop_adds_one_to_each_kind_of_change_as_bonett_and_price_do() -> None:
    drop, interval = metrics.paired_drop(*flags(both=1, lost=1, gained=7, neither=12))
    half = 1.959964 * math.sqrt((10 / 23 - (6 / 23) ** 2) / 23)
    assert drop == pytest.approx(-6 / 21)
    assert (interval.low, interval.high) == pytest.approx((-6 / 23 - half, -6 / 23 + half))


def test_paired_drop_admits_ignorance_when_nothing_flipped_in_few_images() -> None:
    drop, interval = metrics.paired_drop(*flags(both=20, lost=0, gained=0, neither=10))
    assert drop == 0
    assert interval.high == pytest.approx(-interval.low)
    assert interval.high > 0.05


def test_paired_drop_covers_the_true_drop_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(400):
        kind = rng.choice(4, size=300, p=[0.75, 0.03, 0.01, 0.21])
        _, interval = metrics.paired_drop((kind == 0) | (kind == 1), (kind == 0) | (kind == 2))
        covered += interval.low <= 0.02 <= interval.high
    assert covered / 400 > 0.93


def test_paired_drop_of_no_images_is_zero() -> None:
    assert metrics.paired_drop(*flags(both=0, lost=0, gained=0, neither=0))[0] == 0


def test_mcnemar_is_the_exact_binomial_test_of_the_changes() -> None:
    pair = flags(both=1, lost=1, gained=7, neither=12)
    assert metrics.mcnemar(*pair) == pytest.approx(2 * (1 + 8) / 2**8)


def test_mcnemar_of_no_change_is_one() -> None:
    assert metrics.mcnemar(*flags(both=5, lost=0, gained=0, neither=5)) == 1


@pytest.mark.parametrize(
    ("trials", "share", "expected"),
    [
        (30, 0.01, 1),
        (1000, 0.01, 15),
        (10, 0.0, 0),
        (7, 1.0, 7),
        (0, 0.01, 0),
        (200_000, 0.01, 2073),
    ],
)
def test_chance_count_is_the_binomial_quantile(trials: int, share: float, expected: int) -> None:
    assert metrics.chance_count(trials, share) == expected
