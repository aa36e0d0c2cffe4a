"""Bad inputs of INT8 as a user meets them: a named warning or one error, and nothing half-made."""

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.images import demo_images, sample

from .conftest import Command

FEW = ("--calibration-samples", 8)
LOCK = ".tresnet-deploy.lock"
GRAPH = ["tresnet.onnx", "tresnet.onnx.json"]
PROGRAM = (sys.executable, "-c", "from tresnet_deploy.cli import main; main()")
COMMANDS = {
    "quantize": ("quantize", *FEW),
    "sensitivity": ("sensitivity", *FEW, "--held-out-samples", 40),
    "build-engine": ("build-engine", "--int8", "--min-agreement", "95%", *FEW),
}
GIVE_UP_S = 60


@pytest.fixture
def nan_folder(demo_graph: Artifact, tmp_path: Path) -> Path:
    """A folder with a graph in which one bias is NaN."""
    model = graph_files.load(demo_graph.path)
    bias = model.graph.initializers["layer2.1.conv1.conv.bias"]
    assert bias.const_value is not None
    bias.const_value = ir.tensor(bias.const_value.numpy() * np.float32("nan"), name=bias.name)
    with artifacts.publishing(tmp_path / "nan" / "tresnet.onnx", overwrite=False) as staging:
        graph_files.save(model, staging.path)
        return staging.finish(dataclasses.replace(demo_graph, companions=())).path.parent


def plain(folder: Path, count: int, colour: tuple[int, int, int]) -> Path:
    """Save so many images of one colour."""
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (64, 64), colour).save(folder / f"{number}.png")
    return folder


def labelled_in_part(folder: Path) -> Path:
    """Save four images, two of which labels.csv names."""
    folder.mkdir()
    for number, file in enumerate(sample(demo_images("test"), 4, seed=0).files):
        shutil.copy(file.path, folder / f"{number}.png")
    (folder / "labels.csv").write_text("0.png,0\n1.png,1\n", "utf-8")
    return folder


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != LOCK)


def test_one_image_is_enough_and_is_warned_of(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    shutil.copy(demo_images("test").files[0].path, tmp_path / "one")
    done = command("quantize", "-o", folder, "--calibration-data", tmp_path / "one")
    assert done.code == 0
    assert "warning: CAL001: calibrated on only 1 image; ranges settle" in done.err
    assert "ranges   mse over 1 image\n" in done.out
    auto = command(
        "quantize", "-o", tmp_path, folder / "tresnet.onnx", "--method", "auto",
        "--calibration-data", tmp_path / "one",
    )  # fmt: skip
    assert auto.code == 2
    assert "it wants 8 or more, not 1 image" in auto.err
    judged = command("sensitivity", "-o", folder, "--calibration-data", tmp_path / "one")
    assert judged.code == 2
    assert f"1 image in {tmp_path / 'one'} was calibrated on" in judged.err
    assert "--calibration-samples" not in judged.err


@pytest.mark.parametrize("colour", [(0, 0, 0), (0, 0, 200)])
def test_images_of_one_colour_are_named(
    command: Command, folder: Path, tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    images = plain(tmp_path / "plain", 4, colour)
    done = command("quantize", "-o", folder, "--calibration-data", images)
    assert done.code == 0
    assert "warning: CAL002: all calibration images show one plain colour" in done.err
    assert "warning: CAL003: 3 of 4 calibration images are copies of others" in done.err


def test_black_frames_cannot_show_what_int8_costs(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    images = plain(tmp_path / "black", 20, (0, 0, 0))
    done = command(*COMMANDS["sensitivity"], "-o", folder, "--held-out", images, "--only", "stem")
    assert done.code == 2
    assert "the float graph answers all 20 held-out images alike" in done.err
    assert left(folder) == ["calibration", *GRAPH]


@pytest.mark.parametrize(
    "arguments",
    [
        *COMMANDS.values(),
        ("quantize", "--method", "auto"),
        ("quantize", "--precision", "fp16"),
        ("quantize", "--precision", "bf16"),
    ],
)
def test_a_graph_that_answers_nan_ends_with_4_by_rule_and_leaves_nothing(
    command: Command, nan_folder: Path, arguments: tuple[object, ...]
) -> None:
    done = command(*arguments, "-o", nan_folder)
    assert done.code == 4
    assert "error: CAL101: the " in done.err
    assert "try: check the checkpoint: tresnet-deploy inspect FILE" in done.err
    assert left(nan_folder) == GRAPH


def test_labels_of_some_images_only_are_warned_of_or_asked_for(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    images = labelled_in_part(tmp_path / "part")
    done = command("quantize", "-o", folder, "--calibration-data", images)
    assert done.code == 0
    missing = f"{images / 'labels.csv'} says nothing about 2 of the 4 images, such as 2.png, 3.png"
    assert f"warning: labels are left out of account: {missing}" in done.err
    bound = ("build-engine", "--int8", "--overwrite", "--max-drop", "50%", "-o", folder)
    judged = command(*bound, "--held-out", images)
    assert judged.code == 2
    assert f"error: {missing}" in judged.err
    rest = command(*bound, "--calibration-data", images, "--calibration-samples", 2)
    assert rest.code == 2
    assert "--max-drop needs one label for each held-out image, and 2 of 2 have none" in rest.err
    assert missing in rest.err


@pytest.mark.parametrize("name", COMMANDS)
def test_excluding_everything_is_refused_before_calibrating(
    command: Command, folder: Path, name: str
) -> None:
    done = command(*COMMANDS[name], "-o", folder, "--exclude", ".")
    assert done.code == 2
    assert "no layer is left to quantise with --exclude '.'" in done.err
    assert left(folder) == GRAPH


@pytest.mark.parametrize(
    "arguments",
    [("quantize",), ("sensitivity",), ("build-engine", "--int8", "--min-agreement", "95%")],
)
def test_a_quantised_graph_leads_back_to_the_one_it_was_made_of(
    command: Command, folder: Path, demo_int8: Artifact, arguments: tuple[str, ...]
) -> None:
    for path in (demo_int8.path, artifacts.sidecar_of(demo_int8.path)):
        shutil.copy(path, folder)
    done = command(*arguments, folder / "tresnet.int8.onnx", "-o", folder)
    assert done.code == 2
    assert "tresnet.int8.onnx is no FP32 graph but int8" in done.err
    assert f"try: name the graph that it was made of: {folder / 'tresnet.onnx'}" in done.err


def test_options_of_calibration_say_that_a_graph_is_quantised_already(
    command: Command, demo_int8: Artifact, tmp_path: Path
) -> None:
    done = command("build-engine", demo_int8.path, "--int8", "--exclude", "^stem", "-o", tmp_path)
    assert done.code == 2
    assert "--exclude changes nothing here: tresnet.int8.onnx is int8 already" in done.err


@pytest.mark.parametrize("option", ["--calibration-data", "--held-out"])
@pytest.mark.parametrize("name", ["sensitivity", "build-engine"])
def test_an_empty_folder_is_one_error(
    command: Command, folder: Path, tmp_path: Path, name: str, option: str
) -> None:
    (tmp_path / "empty").mkdir()
    done = command(*COMMANDS[name], "-o", folder, option, tmp_path / "empty")
    assert done.code == 2
    assert f"error: there are no images in {tmp_path / 'empty'} (looked for .bmp" in done.err
    assert left(folder) == GRAPH


@pytest.fixture
def busy(folder: Path) -> Iterator[Path]:
    """The folder while another process writes to it."""
    holds = (
        "import sys, pathlib; from tresnet_deploy.artifacts import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        (sys.executable, "-c", holds, folder),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        yield folder
        other.communicate()


def test_a_second_run_on_one_folder_ends_with_3_and_changes_nothing(
    command: Command, busy: Path
) -> None:
    for arguments in COMMANDS.values():
        done = command(*arguments, "-o", busy)
        assert done.code == 3
        assert f"error: another tresnet-deploy is writing to {busy}/" in done.err
        assert left(busy) == GRAPH


@pytest.mark.parametrize(
    ("arguments", "working"),
    [
        (("quantize", "--method", "auto"), ".tresnet.int8.onnx.partial"),
        (COMMANDS["build-engine"], ".mixed.partial"),
    ],
)
def test_ctrl_c_half_way_leaves_nothing_half_written(
    folder: Path, arguments: tuple[object, ...], working: str
) -> None:
    with subprocess.Popen(
        [str(part) for part in (*PROGRAM, *arguments, "-o", folder)],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        end = time.monotonic() + GIVE_UP_S
        while not (folder / working).exists() and time.monotonic() < end:
            time.sleep(0.01)
        assert (folder / working).exists()
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=GIVE_UP_S)
    assert process.returncode == 130
    assert told.endswith("interrupted; nothing half-written was left\n")
    assert left(folder) == GRAPH
