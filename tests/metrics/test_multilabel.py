import numpy as np
import pytest

from tresnet_deploy.metrics import multilabel


def asl_average_precision(output: np.ndarray, target: np.ndarray) -> float:
    """The loop of ML-GCN's meter, whose value ASL's cumulative sums equal when nothing ties."""
    hits, precision = 0, 0.0
    for rank, index in enumerate(np.argsort(-output), start=1):
        if target[index]:
            hits += 1
            precision += hits / rank
    return precision / hits


def random_case(images: int = 60, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    targets = rng.random((images, classes)) < 0.3
    return rng.normal(size=(images, classes)) + targets, targets


def test_map_equals_the_published_loop_when_no_scores_tie() -> None:
    scores, targets = random_case()
    expected = np.mean([asl_average_precision(scores[:, c], targets[:, c]) for c in range(7)])
    assert multilabel.mean_average_precision(scores, targets) == pytest.approx(expected)


def test_a_class_that_no_image_shows_is_left_out_of_map() -> None:
    scores, targets = random_case()
    targets[:, 3] = False
    kept = [0, 1, 2, 4, 5, 6]
    assert multilabel.mean_average_precision(scores, targets) == pytest.approx(
        multilabel.mean_average_precision(scores[:, kept], targets[:, kept])
    )


def test_map_of_constant_scores_is_the_share_of_positives_in_any_order() -> None:
    targets = np.array([[True], [False], [False], [True], [False]])
    constant = np.zeros((5, 1))
    assert multilabel.mean_average_precision(constant, targets) == pytest.approx(0.4)
    assert multilabel.mean_average_precision(constant, targets[::-1]) == pytest.approx(0.4)


def test_map_without_any_positive_is_undefined() -> None:
    with pytest.raises(ValueError, match="no image shows any class"):
        multilabel.mean_average_precision(np.zeros((2, 2)), np.zeros((2, 2), bool))


def test_weights_count_an_image_as_often_as_they_say() -> None:
    scores, targets = random_case(images=10)
    repeats = np.array([2, 0, 1, 3, 1, 1, 0, 2, 1, 1])
    weighted = multilabel.average_precision(
        scores[:, 0], targets[:, 0], repeats[None].astype(float)
    )
    rows = np.repeat(np.arange(10), repeats)
    copied = multilabel.average_precision(
        scores[rows, 0], targets[rows, 0], np.ones((1, len(rows)))
    )
    assert weighted[0] == pytest.approx(copied[0])


def test_f1_counts_labels_from_the_threshold_on() -> None:
    probabilities = np.array([[0.9, 0.5], [0.4, 0.8], [0.7, 0.1]])
    targets = np.array([[True, True], [True, False], [False, False]])
    found = multilabel.f1(probabilities, targets)
    # class 0: hits 1 of 2 predicted, 1 of 2 present; class 1: 1 of 2 predicted, 1 of 1 present
    assert found.per_class == pytest.approx(2 * 0.5 * 0.75 / 1.25)
    assert found.overall == pytest.approx(2 * (2 / 4) * (2 / 3) / (2 / 4 + 2 / 3))


def test_f1_of_no_prediction_is_zero() -> None:
    found = multilabel.f1(np.zeros((2, 2)), np.ones((2, 2), bool))
    assert (found.per_class, found.overall) == (0, 0)


def test_the_drop_of_an_equal_candidate_is_zero_with_a_zero_interval() -> None:
    scores, targets = random_case()
    drop, interval = multilabel.mean_ap_drop(scores, scores, targets)
    assert (drop, interval.low, interval.high) == (0, 0, 0)


def test_the_paired_interval_of_a_drop_is_narrower_than_two_separate_ones() -> None:
    scores, targets = random_case(images=200)
    noisy = scores + np.random.default_rng(2).normal(scale=0.3, size=scores.shape)
    drop, paired = multilabel.mean_ap_drop(scores, noisy, targets)
    alone = multilabel.mean_ap_interval(scores, targets)
    assert paired.low <= drop <= paired.high
    assert paired.high - paired.low < (alone.high - alone.low) / 2


def test_intervals_repeat_with_the_seed() -> None:
    scores, targets = random_case()
    first = multilabel.mean_ap_interval(scores, targets, seed=4)
    assert first == multilabel.mean_ap_interval(scores, targets, seed=4)
    assert first != multilabel.mean_ap_interval(scores, targets, seed=5)
