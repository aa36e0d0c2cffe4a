"""The command quantize: what it takes, says, writes and refuses."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import click
import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.cli._quantize_text import text
from tresnet_deploy.cli.quantize import command as quantize_command
from tresnet_deploy.contracts import Artifact, FileDigest
from tresnet_deploy.images import demo_images
from tresnet_deploy.quantize import QuantizeOptions
from tresnet_deploy.registry import OBSERVERS

from .conftest import Command

SAMPLES = ("--calibration-samples", 8)


@pytest.fixture
def folder(demo_graph: Artifact, tmp_path: Path) -> Path:
    """A folder of artefacts with the demo's FP32 graph."""
    for path in (demo_graph.path, artifacts.sidecar_of(demo_graph.path)):
        shutil.copy(path, tmp_path)
    return tmp_path


def test_the_newest_float_graph_is_taken_and_named(command: Command, folder: Path) -> None:
    done = command("quantize", "-o", folder, *SAMPLES)
    assert done.code == 0
    assert f"taking the newest FP32 graph, {folder / 'tresnet.onnx'}" in done.err
    assert (folder / "tresnet.int8.onnx").is_file()


def test_the_text_shows_choices_check_file_and_next_commands(
    command: Command, folder: Path
) -> None:
    done = command("quantize", "-o", folder, *SAMPLES)
    assert "ranges   mse over 8 images\n" in done.out
    assert "INT8     60 layers, 63 activations\n" in done.out
    assert "float    blur, squeeze-excite, head\n" in done.out
    assert "top-1 agreement with the float graph" in done.out
    assert f"saved: {folder / 'tresnet.int8.onnx'} (" in done.out
    assert f"next: tresnet-deploy build-engine --precision int8 --output {folder}" in done.err
    assert f"tresnet-deploy compare --output {folder}" in done.err


def test_json_is_the_artefact(command: Command, folder: Path) -> None:
    done = command("quantize", "-o", folder, *SAMPLES, "--format", "json")
    found = json.loads(done.out)
    assert found["schema_version"] == 1
    assert found["precision"] == "int8"
    assert found["settings"]["int8_layers"] == 60


def test_a_second_run_says_that_it_took_the_table_from_the_cache(
    command: Command, folder: Path
) -> None:
    command("quantize", "-o", folder, *SAMPLES)
    done = command("quantize", "-o", folder, *SAMPLES, "--overwrite", "--exclude", "^stem")
    assert f"calibration table taken from {folder / 'calibration'}" in done.err
    assert "float    blur, squeeze-excite, head, ^stem\n" in done.out


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_half_precisions_need_no_calibration(
    command: Command, folder: Path, precision: str
) -> None:
    done = command("quantize", "-o", folder, "--precision", precision)
    assert done.code == 0
    assert f"{precision}     100 layers; input and output FP32" in done.out
    assert not (folder / "calibration").exists()


def test_fp8_is_calibrated_like_int8(command: Command, folder: Path) -> None:
    done = command("quantize", "-o", folder, "--precision", "fp8", *SAMPLES)
    assert done.code == 0
    assert "FP8      60 layers, 63 activations\n" in done.out
    assert f"saved: {folder / 'tresnet.fp8.onnx'} (" in done.out


def test_what_fp16_cannot_hold_is_told(demo_graph: Artifact) -> None:
    why = "layer1.0.conv1.conv/Conv reaches 1e+05; FP16 ends at 65504"
    settings = {"half_layers": 98, "fp32_nodes": 3, "fp32_because": why}
    parent = FileDigest(name="tresnet.onnx", sha256="0" * 64)
    made = dataclasses.replace(demo_graph, precision="fp16", settings=settings, parents=(parent,))
    told = text(made, demo_graph)
    assert "fp16       98 layers; input and output FP32\n" in told
    assert f"kept FP32  3 nodes: {why}\n" in told


def test_ones_own_images_are_taken_from_the_folder_given(
    command: Command, folder: Path, class_folders: Path
) -> None:
    done = command("quantize", "-o", folder, "--calibration-data", class_folders)
    assert done.code == 0
    assert "ranges   mse over 30 images" in done.out
    assert "warning: CAL001: calibrated on only 30 images" in done.err


def test_auto_prints_the_recipes_that_it_measured_and_marks_the_one_taken(
    command: Command, folder: Path, class_folders: Path
) -> None:
    done = command(
        "quantize", "-o", folder, "--method", "auto", "--calibration-data", class_folders
    )
    assert done.code == 0
    lines = done.out.splitlines()
    assert any(line.startswith("recipe ") and "SNR dB" in line for line in lines)
    assert len([line for line in lines if line.endswith("  taken")]) == 1
    assert len([line for line in lines if ", equalized" in line]) >= 2
    assert len([line for line in lines if ", rounded by gptq" in line]) == 1
    assert "on 10 images held out" in done.out
    assert "warning: CAL010: recipes were judged on only 10 images" in done.err
    assert "over 20 images" in done.out
    assert (folder / "tresnet.int8.onnx.choice.json").is_file()


def test_extras_can_be_asked_for_by_name(command: Command, folder: Path) -> None:
    extras = ("--equalize", "--bias-correction", "--weight-range", "mse")
    done = command("quantize", "-o", folder, *SAMPLES, *extras)
    assert done.code == 0
    words = "channels equalized, biases corrected, weights by their squared error"
    assert f"also     {words}\n" in done.out


def test_weights_rounded_by_gptq_are_named_with_what_that_gained(
    command: Command, folder: Path
) -> None:
    done = command("quantize", "-o", folder, *SAMPLES, "--weight-rounding", "gptq")
    assert done.code == 0
    words = r"also     weights rounded by gptq \(\d+\.\d % of the nearest's error remains\)\n"
    assert re.search(words, done.out)


def test_an_unknown_rounding_names_those_that_there_are(command: Command, folder: Path) -> None:
    done = command("quantize", "-o", folder, "--weight-rounding", "adaround")
    assert done.code == 2
    assert "'adaround' is not one of 'nearest', 'gptq'" in done.err


@pytest.mark.parametrize(
    ("option", "precision"),
    [
        (("--exclude", "layer1"), "fp16"),
        (("--method", "minmax"), "bf16"),
        (("--seed", "3"), "fp16"),
        (("--quantize-all",), "bf16"),
    ],
)
def test_options_that_change_nothing_in_a_half_graph_are_refused(
    command: Command, folder: Path, option: tuple[str, ...], precision: str
) -> None:
    done = command("quantize", "-o", folder, "--precision", precision, *option)
    assert done.code == 2
    assert f"{option[0]} changes nothing here: {precision} is a type in the graph" in done.err


def test_fp16_stops_at_an_unreadable_image_where_that_is_asked_for(
    command: Command, folder: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number, file in enumerate(demo_images("calibration").files[:3]):
        (images / f"{number}.png").write_bytes(file.path.read_bytes() if number else b"junk")
    options = ("--precision", "fp16", "--calibration-data", images)
    done = command("quantize", "-o", folder, *options, "--strict")
    assert done.code == 2
    assert f"{images / '0.png'} " in done.err
    assert command("quantize", "-o", folder, *options).code == 0


@pytest.mark.parametrize("seed", ["-1", str(2**63)])
def test_a_seed_that_no_generator_takes_is_a_usage_error(
    command: Command, folder: Path, seed: str
) -> None:
    done = command("quantize", "-o", folder, "--seed", seed)
    assert done.code == 2
    assert f"{seed} is not from 0 to {2**63 - 1}" in done.err


def test_auto_cannot_measure_on_noise(command: Command, folder: Path) -> None:
    done = command("quantize", "-o", folder, "--method", "auto", "--random-calibration")
    assert done.code == 2
    assert "noise has no accuracy that --method auto could measure" in done.err


def test_noise_is_named_as_such(command: Command, folder: Path) -> None:
    done = command("quantize", "-o", folder, "--random-calibration", *SAMPLES)
    assert "ranges   mse over 8 noise images" in done.out
    assert "warning: CAL008: calibrated on random noise" in done.err


def test_a_named_graph_is_taken_from_anywhere(
    command: Command, demo_graph: Artifact, tmp_path: Path
) -> None:
    done = command("quantize", demo_graph.path, "-o", tmp_path, *SAMPLES)
    assert done.code == 0
    assert (tmp_path / "tresnet.int8.onnx").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--exclude", "^layer9"), "--exclude '^layer9' matches none of the 121 layers"),
        (("--exclude", "["), "--exclude '[' is no regular expression"),
        (("--method", "best"), "no calibration method is called 'best'; there are: entropy"),
        (("--calibration-data", "/nowhere/at/all"), "/nowhere/at/all"),
        (("--calibration-samples", 0), "0 is not in the range x>=1"),
        (("--precision", "fp4"), "'fp4' is not one of"),
        (("missing.onnx",), "there is no file missing.onnx"),
    ],
)
def test_wrong_requests_end_with_one_error_and_code_2(
    command: Command, folder: Path, arguments: tuple[object, ...], message: str
) -> None:
    done = command("quantize", "-o", folder, *arguments)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert list(folder.glob("*int8*")) == []


def test_a_folder_without_a_graph_says_how_to_make_one(command: Command, tmp_path: Path) -> None:
    done = command("quantize", "-o", tmp_path)
    assert done.code == 2
    assert f"there is no FP32 ONNX file in {tmp_path}/" in done.err
    assert "try: tresnet-deploy export" in done.err


def test_a_quantised_graph_is_refused(command: Command, folder: Path) -> None:
    command("quantize", "-o", folder, *SAMPLES)
    done = command("quantize", folder / "tresnet.int8.onnx", "-o", folder)
    assert done.code == 2
    assert "is no FP32 graph but int8; INT8 is made from FP32" in done.err


def test_an_existing_file_is_kept(command: Command, folder: Path) -> None:
    (folder / "tresnet.int8.onnx").write_text("mine")
    done = command("quantize", "-o", folder, *SAMPLES)
    assert done.code == 2
    assert "try: add --overwrite to replace it" in done.err
    assert (folder / "tresnet.int8.onnx").read_text() == "mine"


def test_broken_images_end_strict_runs_with_code_2(
    command: Command, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    images = tmp_path_factory.mktemp("broken")
    (images / "a.png").write_bytes(b"")
    done = command("quantize", "-o", folder, "--calibration-data", images, "--strict")
    assert done.code == 2
    assert "a.png is empty" in done.err


def _option(name: str) -> click.Option:
    (option,) = (each for each in quantize_command.params if each.name == name)
    assert isinstance(option, click.Option)
    return option


def test_the_defaults_and_names_on_the_command_line_are_those_of_the_step() -> None:
    assert _option("method").default == QuantizeOptions().method
    assert _option("calibration_samples").default == QuantizeOptions().samples
    named = (_option("method").help or "").replace(" or ", ", ").partition(": ")[2].rstrip(".")
    listed = [name.removesuffix(" (measures them)") for name in named.split(", ")]
    assert listed == ["auto", *OBSERVERS.names()]
