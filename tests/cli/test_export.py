"""``tresnet-deploy export`` as people type it."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tresnet import create, save_miil
from tresnet.architecture import Architecture, Head, InputRule
from tresnet.layers import ActivatedNorm
from tresnet_deploy import artifacts
from tresnet_deploy.artifacts import from_json
from tresnet_deploy.contracts import Artifact, Batch

Command = Callable[..., Any]
NAMES = ("ant", "bee", "cat", "dog", "eel")
PEAK_MIB = 2500


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a tiny trained-looking network of five named classes, for images of 32 px."""
    torch.manual_seed(0)
    model = create(
        Architecture(width=8, depths=(1, 1, 1, 1), head=Head.linear(5)), norm="batchnorm"
    )
    for norm in model.modules():
        if isinstance(norm, ActivatedNorm):
            torch.nn.init.normal_(norm.weight)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    rule = InputRule(image_px=32, resize="squish")
    save_miil(model, path, class_names=NAMES, input_rule=rule)
    return path


@pytest.fixture(scope="module")
def exported(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder and what was said, from a run in a process of its own."""
    folder = tmp_path_factory.mktemp("run")
    program = "from tresnet_deploy.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "export", "--checkpoint", str(checkpoint)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return folder / "deploy", done


def test_a_checkpoint_becomes_a_file_with_its_sidecar(
    exported: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = exported
    assert done.returncode == 0, done.stderr
    artifact = artifacts.read(folder / "tresnet.onnx")
    assert artifact.labels.names == NAMES
    assert artifact.source.location.endswith("tiny.safetensors")


def test_stdout_tells_each_choice_with_its_reason_the_proof_and_the_file(
    exported: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = exported
    *facts, blank, saved = done.stdout.splitlines()
    assert [line.split()[0] for line in facts] == [
        "network",
        "weights",
        "layout",
        "gammas",
        "slopes",
        "images",
        "classes",
        "graph",
        "check",
    ]
    told = {line.split()[0]: line for line in facts}
    assert "absolute: " in told["gammas"]
    assert "32x32 px, squish, bilinear, RGB [0, 1]: " in told["images"]
    assert "5, one for each image (ant, bee, cat, ...)" in told["classes"]
    assert "images float32 (batch, 3, 32, 32) -> logits float32 (batch, 5)" in told["graph"]
    assert "max abs error" in told["check"]
    assert blank == ""
    assert re.fullmatch(r"saved: deploy/tresnet\.onnx \(\d+\.\d MiB\)", saved)


def test_stderr_ends_with_the_next_commands_and_no_noise_of_torch(
    exported: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    _, done = exported
    assert done.stderr.splitlines() == [
        "next: tresnet-deploy build-engine --int8",
        "      tresnet-deploy compare",
    ]


def test_every_option_reaches_the_graph(command: Command, checkpoint: Path, tmp_path: Path) -> None:
    options = ("--opset", 20, "--batch", 2, "--image-size", "36x40", "--operators", "inline")
    more = ("--input", "uint8-nhwc", "--activation", "softmax", "--slopes", "0.02:0.002")
    labels = ("--multi-label", "--gammas", "plain", "--classes", 5, "--pad-channels")
    done = command(
        "export",
        *("--checkpoint", checkpoint, "--output", tmp_path, "--format", "json"),
        *(*options, *more, *labels),
    )
    assert done.code == 0, done.err
    artifact = from_json(done.out.encode(), Artifact, name="stdout")
    assert artifact.inputs[0].shape == (2, 36, 40, 3)
    assert artifact.outputs[0].name == "probabilities"
    assert artifact.labels.multi_label
    assert dict(artifact.settings) == {
        "opset": 20,
        "operators": "inline",
        "dynamic_size": False,
        "pad_channels": True,
    }
    source = artifact.source
    assert (source.gammas, source.stem_slope, source.block_slope) == ("plain", 0.02, 0.002)
    assert f"next: tresnet-deploy build-engine --int8 --output {tmp_path}" in done.err


def test_a_range_of_batches_is_what_engines_will_be_built_for(
    command: Command, checkpoint: Path, tmp_path: Path
) -> None:
    done = command("export", "--checkpoint", checkpoint, "--batch", "2:4:8", "-o", tmp_path)
    assert done.code == 0, done.err
    artifact = artifacts.read(tmp_path / "tresnet.onnx")
    assert artifact.inputs[0].shape[0] == "batch"
    assert artifact.batch == Batch(min=2, opt=4, max=8)


def test_a_second_export_needs_overwrite(
    command: Command,
    exported: tuple[Path, subprocess.CompletedProcess[str]],
    checkpoint: Path,
) -> None:
    folder, _ = exported
    done = command("export", "--checkpoint", checkpoint, "--output", folder)
    assert done.code == 2
    assert done.out == ""
    assert "tresnet.onnx exists already" in done.err
    assert "  try: add --overwrite to replace it" in done.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which weights? Neither a checkpoint nor a variant was given"),
        (("--checkpoint", "gone.pth"), "there is no checkpoint gone.pth"),
        (("--variant", "l", "--checkpoint", "a", "--weights", "random"), "give one"),
        (("--variant", "l", "--image-size", "big"), "neither a number nor HEIGHTxWIDTH"),
        (("--variant", "l", "--slopes", "steep"), "neither a slope nor STEM:BLOCKS"),
        (("--variant", "l", "--slopes", "0.1:2"), "neither a slope nor STEM:BLOCKS"),
        (("--variant", "l", "--slopes", "0:0:0"), "neither a slope nor STEM:BLOCKS"),
        (("--variant", "l", "--opset", "9"), "opset 9 is not between 18 and 23"),
        (("--variant", "l", "--batch", "0"), "--batch"),
        (("--variant", "l", "--activation", "relu"), "'relu' is not one of"),
    ],
)
def test_a_wrong_request_is_one_error_and_exit_code_2(
    command: Command, arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = command("export", *arguments, "--output", tmp_path / "deploy")
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "deploy").exists()


def test_a_size_that_does_not_fit_names_one_that_does(
    command: Command, checkpoint: Path, tmp_path: Path
) -> None:
    done = command(
        "export", "--checkpoint", checkpoint, "--image-size", 30, "--output", tmp_path / "deploy"
    )
    assert done.code == 2
    assert "image height 30 px: TResNet takes multiples of 4" in done.err
    assert "  try: --image-size 32" in done.err


@pytest.mark.slow
def test_tresnet_l_is_exported_as_typed_within_its_memory(tmp_path: Path) -> None:
    program = "from tresnet_deploy.cli import main; main()"
    arguments = ("export", "--variant", "l", "--weights", "random", "--quiet")
    process = subprocess.Popen([sys.executable, "-c", program, *arguments], cwd=tmp_path)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert artifacts.read(tmp_path / "deploy" / "tresnet_l.onnx").architecture == "tresnet_l"
    assert usage.ru_maxrss / 2**10 < PEAK_MIB
