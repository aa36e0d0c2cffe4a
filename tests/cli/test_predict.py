import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tresnet_deploy.artifacts import from_json
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.results import PredictionReport

Command = Callable[..., Any]


def test_an_image_gets_its_five_best_classes_with_probabilities(
    command: Command, classifier: Artifact, class_folders: Path
) -> None:
    done = command("predict", class_folders / "cat" / "0.png", "--engine", classifier.path)
    assert done.code == 0, done.err
    name, best, *others = done.out.splitlines()
    assert name.endswith("cat/0.png")
    assert best.endswith("%  cat")
    assert len(others) == 4


def test_one_class_an_image_takes_one_line_an_image(
    command: Command, classifier: Artifact, class_folders: Path
) -> None:
    done = command("predict", class_folders, "--engine", classifier.path, "--top", 1)
    assert len(done.out.splitlines()) == 30
    assert sum("%  dog" in line for line in done.out.splitlines()) == 5


def test_json_names_class_index_and_probability(
    command: Command, classifier: Artifact, class_folders: Path
) -> None:
    done = command(
        "predict", class_folders / "fox", "--engine", classifier.path, "--format", "json", "-q"
    )
    report = from_json(done.out.encode(), PredictionReport, name="stdout")
    assert len(report.predictions) == 5
    for prediction in report.predictions:
        best = prediction.classes[0]
        assert (best.index, best.name) == (5, "fox")
        assert sum(found.probability for found in prediction.classes) <= 1
    assert done.err == ""


def test_several_labels_are_those_above_the_threshold(
    command: Command, multi_label_classifier: Artifact, labelled_table: Path
) -> None:
    done = command(
        "predict", labelled_table / "00.png", "--engine", multi_label_classifier.path,
        "--threshold", 0.99,
    )  # fmt: skip
    assert [line.split()[-1] for line in done.out.splitlines()[1:]] == ["ant", "bee"]


def test_no_likely_label_is_said_so(
    command: Command, multi_label_classifier: Artifact, labelled_table: Path
) -> None:
    done = command(
        "predict", labelled_table / "00.png", "--engine", multi_label_classifier.path,
        "--threshold", 1,
    )  # fmt: skip
    assert "no class is likely enough" in done.out


def test_a_bad_image_is_named_and_the_others_are_classified(
    command: Command, classifier: Artifact, class_folders: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff but not for long")
    good = class_folders / "bee" / "0.png"
    done = command("predict", bad, good, "--engine", classifier.path, "--top", 1)
    assert done.code == 0
    assert done.out.endswith("bee\n")
    assert f"left out: {bad}" in done.err


def test_nothing_but_bad_images_is_an_error(
    command: Command, classifier: Artifact, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"nothing")
    done = command("predict", bad, "--engine", classifier.path)
    assert done.code == 2
    assert "none of the 1 images" in done.err
    assert done.out == ""


def test_a_missing_image_is_a_usage_error(command: Command, classifier: Artifact) -> None:
    done = command("predict", "nowhere.png", "--engine", classifier.path)
    assert done.code == 2
    assert "there is no image nowhere.png" in done.err


def test_a_graph_of_another_tool_is_refused(
    command: Command, classifier: Artifact, class_folders: Path, tmp_path: Path
) -> None:
    alien = tmp_path / "alien.onnx"
    alien.write_bytes(classifier.path.read_bytes())
    done = command("predict", class_folders, "--engine", alien)
    assert done.code == 2
    assert "not by tresnet-deploy" in done.err


@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_pytorch_is_not_needed(
    name: str, classifier: Artifact, class_folders: Path, tmp_path: Path
) -> None:
    arguments = {
        "predict": [str(class_folders), "--engine", str(classifier.path)],
        "evaluate": [str(classifier.path), "--images", str(class_folders)],
    }
    blocked = "import sys; sys.modules['torch'] = None; from tresnet_deploy.cli import main; main()"
    finished = subprocess.run(
        [sys.executable, "-c", blocked, name, *arguments[name]],
        check=False,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    assert "cat" in finished.stdout
