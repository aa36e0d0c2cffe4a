from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tresnet_deploy.contracts import (
    Array,
    Artifact,
    Batch,
    Feeds,
    Labels,
    Preprocess,
    Source,
    TensorSpec,
)
from tresnet_deploy.errors import ImageError, RunError
from tresnet_deploy.evaluate import evaluate
from tresnet_deploy.images import ImageFile, ImageSet
from tresnet_deploy.predict import predict

CLASSES = 3


class ChannelSession:
    """The score of class c is the mean of colour channel c; NaN for black images if asked."""

    def __init__(self, *, nan_for_black: bool = False) -> None:
        self.inputs = (TensorSpec(name="x", dtype="float32", shape=("n", 3, 8, 8)),)
        self.outputs = (TensorSpec(name="y", dtype="float32", shape=("n", CLASSES)),)
        self.sizes: list[int] = []
        self._nan_for_black = nan_for_black

    def bind(self, feeds: Feeds) -> None:
        self._images = feeds["x"]
        self.sizes.append(len(self._images))

    def step(self) -> None:
        self._scores = self._images.mean(axis=(2, 3))
        if self._nan_for_black:
            self._scores[self._scores.sum(axis=1) == 0] = np.nan

    def fetch(self) -> dict[str, Array]:
        return {"y": 4 * self._scores}

    def close(self) -> None:
        pass


def model(*, multi_label: bool = False, batch: Batch | None = None) -> Artifact:
    return Artifact(
        path=Path("colours.onnx"),
        kind="onnx",
        step="export",
        sha256="of colours",
        architecture="tresnet_m",
        precision="fp32",
        inputs=(),
        outputs=(),
        preprocess=Preprocess(height_px=8, width_px=8, resize="squish"),
        labels=Labels(classes=CLASSES, names=("red", "green", "blue"), multi_label=multi_label),
        source=Source(kind="random", location="", sha256="of weights"),
        batch=batch,
    )


Row = tuple[tuple[int, int, int], tuple[int, ...] | None]


def pictures(folder: Path, rows: list[Row]) -> ImageSet:
    """Save one plain image for each (colour, labels)."""
    files = []
    for number, (colour, labels) in enumerate(rows):
        path = folder / f"{number}.png"
        Image.new("RGB", (8, 8), colour).save(path)
        files.append(ImageFile(path=path, labels=labels))
    return ImageSet(root=folder, files=tuple(files), class_names=(), source="plain colours")


RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def test_classes_are_counted_by_what_they_show_and_what_they_are_taken_for(tmp_path: Path) -> None:
    images = pictures(tmp_path, [(RED, (0,)), (RED, (1,)), (GREEN, (1,)), (BLUE, (1,))])
    report = evaluate(ChannelSession(), model(), images)
    assert report.accuracy.top1 == 0.5
    by_name = {found.name: found for found in report.classes}
    assert (by_name["red"].recall, by_name["red"].precision) == (1, 0.5)
    assert (by_name["green"].images, by_name["green"].recall) == (3, pytest.approx(1 / 3))
    assert (by_name["blue"].recall, by_name["blue"].precision) == (None, 0)
    pairs = {(pair.label, pair.predicted): pair.images for pair in report.confusions}
    assert pairs == {("green", "red"): 1, ("green", "blue"): 1}


def test_images_without_a_label_are_left_out_with_a_note(tmp_path: Path) -> None:
    images = pictures(tmp_path, [(RED, (0,)), (RED, None), (RED, (0, 1))])
    report = evaluate(ChannelSession(), model(), images)
    assert report.accuracy.images == 1
    assert any("2 images without a label" in note for note in report.notes)


def test_no_usable_label_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    session = ChannelSession()
    with pytest.raises(ImageError, match="plain colours come without"):
        evaluate(session, model(), pictures(tmp_path, [(RED, None)]))
    assert not session.sizes


def test_nan_counts_as_wrong_and_is_noted(tmp_path: Path) -> None:
    images = pictures(tmp_path, [(BLACK, (0,)), (RED, (0,))])
    report = evaluate(ChannelSession(nan_for_black=True), model(), images)
    assert report.accuracy.top1 == 0.5
    assert [(each.name, each.recall) for each in report.classes] == [("red", 0.5)]
    assert [(each.label, each.predicted) for each in report.confusions] == [("red", "NaN")]
    assert any("1 images are answered with NaN" in note for note in report.notes)


def test_nan_counts_as_no_label_where_there_may_be_several(tmp_path: Path) -> None:
    images = pictures(tmp_path, [(BLACK, (0,)), (RED, (0,)), (GREEN, (1,))])
    report = evaluate(ChannelSession(nan_for_black=True), model(multi_label=True), images)
    assert report.accuracy.mean_ap is not None
    assert report.accuracy.mean_ap < 1
    assert any("answered with NaN" in note for note in report.notes)


def test_several_labels_give_average_precision_class_by_class(tmp_path: Path) -> None:
    yellow = (255, 255, 0)
    images = pictures(tmp_path, [(yellow, (0, 1)), (RED, (0,)), (BLUE, (2,)), (GREEN, (1, 2))])
    report = evaluate(ChannelSession(), model(multi_label=True), images)
    by_name = {found.name: found.average_precision for found in report.classes}
    assert by_name["red"] == 1
    assert by_name["blue"] == pytest.approx((1 + 2 / 4) / 2)  # three images tie at zero
    assert report.accuracy.mean_ap == pytest.approx(np.mean(list(by_name.values())))
    assert not report.confusions


def test_images_run_in_the_batches_that_the_model_prefers(tmp_path: Path) -> None:
    images = pictures(tmp_path, [(RED, (0,))] * 5)
    session = ChannelSession()
    evaluate(session, model(batch=Batch(min=2, opt=3, max=4)), images)
    assert session.sizes == [3, 2]


def test_predict_refuses_to_name_a_class_for_nan(tmp_path: Path) -> None:
    images = pictures(tmp_path, [(BLACK, None)])
    with pytest.raises(RunError, match=r"colours\.onnx answers 0\.png with NaN"):
        predict(ChannelSession(nan_for_black=True), model(), images)


def test_predict_gives_probabilities_best_first(tmp_path: Path) -> None:
    images = pictures(tmp_path, [((250, 200, 0), None)])
    (prediction,) = predict(ChannelSession(), model(), images).predictions
    assert [found.name for found in prediction.classes] == ["red", "green", "blue"]
    assert sum(found.probability for found in prediction.classes) == pytest.approx(1)


def test_predict_keeps_to_the_threshold_of_the_user(tmp_path: Path) -> None:
    images = pictures(tmp_path, [((250, 200, 0), None)])
    (prediction,) = predict(ChannelSession(), model(), images, threshold=0.6).predictions
    assert [found.name for found in prediction.classes] == ["red"]


def test_classes_without_names_are_called_by_number(tmp_path: Path) -> None:
    from dataclasses import replace

    unnamed = replace(model(), labels=Labels(classes=CLASSES))
    (prediction,) = predict(
        ChannelSession(), unnamed, pictures(tmp_path, [(RED, None)])
    ).predictions
    assert prediction.classes[0].name == "0"
