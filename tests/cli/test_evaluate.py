import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tresnet_deploy.artifacts import from_json
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.results import EvaluationReport

Command = Callable[..., Any]


def test_class_folders_give_top_one_and_the_confusion(
    command: Command, classifier: Artifact, class_folders: Path
) -> None:
    done = command("evaluate", classifier.path, "--images", class_folders)
    assert done.code == 0, done.err
    assert "top-1     96.7 %  83.3 to 99.4 %" in done.out
    assert "top-5    100.0 %" in done.out
    assert "ant    bee             1" in done.out
    assert "images/s" in done.out


def test_json_is_a_whole_report(
    command: Command, classifier: Artifact, class_folders: Path
) -> None:
    done = command("evaluate", classifier.path, "--images", class_folders, "--format", "json", "-q")
    report = from_json(done.out.encode(), EvaluationReport, name="stdout")
    assert (report.accuracy.images, report.accuracy.top1) == (30, pytest.approx(29 / 30))
    assert report.sha256 == classifier.sha256
    assert len(report.classes) == 6
    assert done.err == ""


def test_several_labels_give_map_and_f1(
    command: Command, multi_label_classifier: Artifact, labelled_table: Path
) -> None:
    done = command("evaluate", multi_label_classifier.path, "--images", labelled_table)
    assert done.code == 0, done.err
    for measure in ("mAP", "CF1", "OF1", "AP"):
        assert measure in done.out
    assert "top-1" not in done.out


def test_cocos_annotations_serve_as_labels(
    command: Command, multi_label_classifier: Artifact, labelled_table: Path, tmp_path: Path
) -> None:
    images = tmp_path / "val"
    shutil.copytree(labelled_table, images)
    rows = [row.split(",") for row in (images / "labels.csv").read_text().splitlines()]
    (images / "labels.csv").unlink()
    names = sorted({name for _, *classes in rows for name in classes}, reverse=True)
    coco = {
        "images": [{"id": number, "file_name": row[0]} for number, row in enumerate(rows)],
        "categories": [{"id": 10 * index, "name": name} for index, name in enumerate(names)],
        "annotations": [
            {"image_id": number, "category_id": 10 * names.index(name)}
            for number, row in enumerate(rows)
            for name in row[1:]
        ],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val.json").write_bytes(msgspec.json.encode(coco))
    found, wanted = (
        command("evaluate", multi_label_classifier.path, "--images", folder, "--format", "json")
        for folder in (images, labelled_table)
    )
    assert found.code == 0, found.err
    measured, known = (msgspec.json.decode(each.out) for each in (found, wanted))
    assert measured["accuracy"] == known["accuracy"]
    assert measured["classes"] == known["classes"]


def test_a_sample_is_spread_over_the_classes(
    command: Command, classifier: Artifact, class_folders: Path
) -> None:
    done = command(
        "evaluate", classifier.path, "--images", class_folders, "--samples", 6, "--format", "json"
    )
    classes = msgspec.json.decode(done.out)["classes"]
    assert [found["images"] for found in classes if found["images"]] == [1] * 6


def test_images_without_labels_are_refused_with_two_ways_out(
    command: Command, classifier: Artifact, class_folders: Path
) -> None:
    done = command("evaluate", classifier.path, "--images", class_folders / "ant")
    assert done.code == 2
    assert "accuracy needs images with the one class that each shows" in done.err
    assert "labels.csv" in done.err
    assert done.out == ""


def test_an_unreadable_image_is_left_out_and_named(
    command: Command, classifier: Artifact, tmp_path: Path
) -> None:
    from PIL import Image

    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (16, 16)).save(tmp_path / name / "black.png")
    (tmp_path / "bee" / "broken.png").write_bytes(b"no image")
    done = command("evaluate", classifier.path, "--images", tmp_path)
    assert done.code == 0
    assert "left out: bee/broken.png is no image of these formats" in done.err
    assert "on 2 images" in done.out
    strict = command("evaluate", classifier.path, "--images", tmp_path, "--strict")
    assert strict.code == 2


def test_a_folder_without_an_engine_says_how_to_build_one(command: Command, tmp_path: Path) -> None:
    done = command("evaluate", "--output", tmp_path)
    assert done.code == 2
    assert "there is no engine" in done.err
    assert "tresnet-deploy build-engine" in done.err


def test_a_changed_file_is_refused(
    command: Command, classifier: Artifact, class_folders: Path, tmp_path: Path
) -> None:
    for suffix in ("", ".json"):
        copy = tmp_path / (classifier.path.name + suffix)
        copy.write_bytes(classifier.path.with_name(copy.name).read_bytes())
    with (tmp_path / classifier.path.name).open("ab") as file:
        file.write(b"\0")
    done = command("evaluate", tmp_path / classifier.path.name, "--images", class_folders)
    assert done.code == 2
    assert "is not the file that" in done.err
