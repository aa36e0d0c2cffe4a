from dataclasses import replace

import numpy as np
import pytest

from tresnet_deploy import metrics
from tresnet_deploy.contracts import Labels

ONE = Labels(classes=3)
SEVERAL = Labels(classes=3, multi_label=True)
SCORES = np.array([[3, 1, 0], [0, 2, 1], [1, 0, 2], [5, 4, 0]], np.float32)


def test_images_of_one_class_give_top_one_and_top_five() -> None:
    found = metrics.accuracy(SCORES, [(0,), (1,), (2,), (1,)], ONE)
    assert found is not None
    assert (found.images, found.top1, found.top5) == (4, 0.75, 1)
    assert found.mean_ap is None
    assert found.headline == 0.75


def test_images_without_a_label_do_not_count() -> None:
    found = metrics.accuracy(SCORES, [(0,), None, (0,), None], ONE)
    assert found is not None
    assert (found.images, found.top1) == (2, 0.5)


def test_images_of_several_classes_do_not_count_for_a_model_of_one() -> None:
    assert metrics.accuracy(SCORES, [(0, 1), (1, 2), (), None], ONE) is None


def test_several_labels_give_map_and_no_top_one() -> None:
    found = metrics.accuracy(SCORES, [(0, 1), (1,), (), (0,)], SEVERAL)
    assert found is not None
    assert found.images == 4
    assert found.top1 is None
    assert found.headline == found.mean_ap


def test_several_labels_of_which_none_is_shown_give_nothing() -> None:
    assert metrics.accuracy(SCORES, [(), (), (), None], SEVERAL) is None


def test_the_drop_is_paired_with_the_reference() -> None:
    truth = [(0,), (1,), (2,), (0,)]
    found = metrics.accuracy(np.roll(SCORES, 1, axis=1), truth, ONE, reference=SCORES)
    assert found is not None
    assert found.drop == 1
    assert found.drop_p == pytest.approx(2 / 16)


def test_f1_counts_probabilities_whatever_the_graph_ends_in() -> None:
    truth = [(0,), (1,), (2,), (0,)]
    logits = 2 * SCORES - 3
    of_logits = metrics.accuracy(logits, truth, SEVERAL)
    ends_in_sigmoid = replace(SEVERAL, activation="sigmoid")
    of_probabilities = metrics.accuracy(metrics.sigmoid(logits), truth, ends_in_sigmoid)
    assert of_logits is not None
    assert of_probabilities is not None
    assert of_logits.cf1 == of_probabilities.cf1
    assert of_logits.of1 == of_probabilities.of1


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_logits_come_back_from_probabilities_up_to_a_constant(activation: str) -> None:
    logits = np.random.default_rng(0).normal(scale=3, size=(5, 7))
    scores = metrics.softmax(logits) if activation == "softmax" else metrics.sigmoid(logits)
    found = metrics.logits(scores, activation)  # type: ignore[arg-type]
    assert metrics.margins(found) == pytest.approx(metrics.margins(logits))
    assert metrics.spread(found) == pytest.approx(metrics.spread(logits))


def test_logits_of_saturated_probabilities_are_finite() -> None:
    saturated = np.array([[0.0, 1.0]], np.float32)
    assert np.isfinite(metrics.logits(saturated, "softmax")).all()
    assert np.isfinite(metrics.logits(saturated, "sigmoid")).all()


def test_an_image_answered_with_nan_is_wrong() -> None:
    assert not metrics.correct(np.array([[np.nan, 0, 1]]), np.array([0]), k=3).any()


def test_best_takes_the_lower_class_where_two_tie() -> None:
    assert metrics.best(np.array([[0, 2, 2]])).tolist() == [1]
