"""Engines of TensorRT-RTX on a machine without a GPU: built as typed, and run nowhere here."""

import json
import shutil
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, gpus
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.images import demo_images

from .conftest import Command

pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed", exc_type=ImportError)
pytestmark = pytest.mark.skipif(bool(gpus.visible()), reason="what is said without a GPU")

NAME = "tresnet.fp16.tensorrt-rtx.engine"
BUILD = ("build-engine", "--fp16", "--backend", "tensorrt-rtx")


@pytest.fixture(scope="module")
def built(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an engine for two GPUs that are not here, made once."""
    from tresnet_deploy import engines

    target = tmp_path_factory.mktemp("elsewhere")
    for path in (demo_graph.path, artifacts.sidecar_of(demo_graph.path)):
        shutil.copy(path, target)
    source = artifacts.read(target / demo_graph.path.name)
    given = {"compute_capabilities": "8.6,8.9"}
    choice = engines.choose(source, precision="fp16", backend="tensorrt-rtx", options=given)
    engines.make(source, target, choice)
    return target


def test_an_engine_for_gpus_elsewhere_is_built_as_typed(command: Command, folder: Path) -> None:
    done = command(
        *(*BUILD, "-o", folder, "--batch", "1", "--batch", "2:4:8", "--weight-streaming"),
        *("--compute-capability", "8.6", "--compute-capability", "8.9", "--workspace-mib", 512),
    )
    assert done.code == 0
    assert "device     compute capabilities 8.6, 8.9" in done.out
    assert "batch      1 to 8, best at 4" in done.out
    assert "check      built, not run: tresnet.fp16.tensorrt-rtx.engine cannot run here" in done.out
    assert "MiB of memory in its own process" in done.out
    changed = "compute_capabilities 8.6,8.9, workspace_mib 512, tf32 True, weight_streaming True"
    assert f"options    profiles 1:1:1,2:4:8, {changed}\n" in done.out
    assert f"next: tresnet-deploy inspect {folder / NAME}" in done.err
    assert "tresnet-deploy benchmark" not in done.err
    settings = artifacts.read(folder / NAME).settings
    assert settings["tensorrt-rtx.profiles"] == "1:1:1,2:4:8"


def test_a_dry_run_says_what_would_be_built_and_writes_nothing(
    command: Command, folder: Path
) -> None:
    before = sorted(folder.iterdir())
    done = command(*BUILD, "-o", folder, "--dry-run", "--compute-capability", "8.6")
    assert done.code == 0
    assert f"graph      {folder}/tresnet.fp16.onnx, to be made" in done.out
    assert f"engine     {folder / NAME}" in done.out
    assert "compute_capabilities 8.6" in done.out
    found = command("build-engine", "-o", folder, "--int8", "--dry-run", "--format", "json")
    plan = json.loads(found.out)
    assert (plan["backend"], plan["calibrates"]) == ("openvino", True)
    assert plan["batch"] == {"min": 1, "opt": 8, "max": 16}
    assert sorted(folder.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--compute-capability", "9.0"), "9.0 is no target of TensorRT-RTX"),
        (("--timing-cache", "a.cache"), "timing_cache changes nothing in TensorRT-RTX"),
        (("--hardware-compatible",), "hardware_compatible is ignored by TensorRT-RTX"),
        (("--version-compatible",), "version_compatible fails in TensorRT-RTX"),
        (("--optimization-level", "5"), "optimization_level shows no effect in TensorRT-RTX"),
        (("--threads", "2"), "tensorrt-rtx has no option 'threads'"),
        (("--batch", "1", "--batch", "4:8:8"), "no profile takes batches of 2 to 3"),
        (("-O", "refit=true"), "refit needs a GPU while TensorRT-RTX builds"),
        (("-O", "strip=true"), "strip makes a plan without weights"),
        (("--build-timeout", "0"), "0 is not in the range x>=1"),
    ],
)
def test_what_it_ignores_or_cannot_do_is_refused_before_anything_is_made(
    command: Command, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(folder.iterdir())
    done = command(*BUILD, "-o", folder, *arguments)
    assert done.code == 2
    assert message in done.err
    assert sorted(folder.iterdir()) == before


def test_an_option_that_another_backend_has_names_that_one(command: Command, folder: Path) -> None:
    done = command("build-engine", "-o", folder, "--compute-capability", "8.6")
    assert done.code == 2
    assert "openvino has no option 'compute_capabilities'" in done.err
    assert "try: --backend tensorrt-rtx has it" in done.err


@pytest.mark.parametrize("step", ["compare", "predict", "evaluate", "benchmark"])
def test_a_step_that_runs_it_ends_with_3_and_the_way_out(
    command: Command, built: Path, step: str
) -> None:
    images = ("--images", demo_images("test").root) if step == "evaluate" else ()
    named = (built / NAME,) if step != "predict" else ("--engine", built / NAME)
    done = command(step, *named, *images)
    assert done.code == 3, done.err
    assert (
        f"{NAME} cannot run here: builds for GPUs elsewhere: no NVIDIA GPU is visible" in done.err
    )
    assert "copy tresnet.fp16.tensorrt-rtx.engine and its .json files to a machine" in done.err


def test_a_benchmark_of_the_folder_leaves_out_what_cannot_run(
    command: Command, built: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "both"
    shutil.copytree(built, folder)
    alone = command("benchmark", "-o", folder, "--quick", "--no-eager")
    assert alone.code == 3
    assert "no engine in" in alone.err
    command("build-engine", "--backend", "onnxruntime", "-o", folder)
    both = command("benchmark", "-o", folder, "--quick", "--no-eager", "--seconds", "0.01")
    assert f"warning: {NAME} is left out" in both.err
    assert "onnxruntime fp32" in both.out


def test_deploy_refuses_a_backend_that_only_builds_before_it_exports(
    command: Command, tmp_path: Path
) -> None:
    done = command("deploy", "--demo", "--backend", "tensorrt-rtx", "-o", tmp_path / "new")
    assert done.code == 3
    assert "tensorrt-rtx cannot run what it builds here" in done.err
    assert "try: tresnet-deploy build-engine --backend tensorrt-rtx, which only builds" in done.err
    assert not (tmp_path / "new").exists()


def test_doctor_tells_building_from_running(command: Command, tmp_path: Path) -> None:
    rows = {
        line.split()[0]: line
        for line in command("doctor", "-q", "--output", tmp_path).out.splitlines()
        if line.strip()
    }
    assert rows["tensorrt-rtx"].endswith("builds for GPUs elsewhere: no NVIDIA GPU is visible")
    assert rows["openvino"].endswith("usable")


def test_inspect_says_that_it_does_not_run_here(command: Command, built: Path) -> None:
    done = command("inspect", built / NAME)
    assert done.code == 0
    text = " ".join(done.out.split())
    assert "runs here no: builds for GPUs elsewhere: no NVIDIA GPU is visible" in text
