"""``check-engine``: the verdict as text, JSON and exit code."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tresnet_deploy import __version__, artifacts, environment
from tresnet_deploy.contracts import Artifact, Labels

from .conftest import NAMES, Command, save_classifier


@pytest.fixture
def engine(tmp_path: Path) -> Artifact:
    """A graph that ONNX Runtime runs as it is, filed as an engine that was built here."""
    graph = save_classifier(
        tmp_path / "stripes.fp32.onnx", labels=Labels(classes=len(NAMES), names=NAMES)
    )
    versions = {"onnxruntime": environment.versions()["onnxruntime"]}
    described = replace(
        graph,
        kind="engine",
        step="build-engine",
        backend="onnxruntime",
        device=f"{environment.processor()} ({', '.join(environment.instructions())})",
        versions=versions,
    )
    with artifacts.publishing(
        tmp_path / "stripes.fp32.onnxruntime.onnx", overwrite=False
    ) as staging:
        staging.path.write_bytes(graph.path.read_bytes())
        return staging.finish(described)


def test_a_compatible_engine_ends_with_0(command: Command, engine: Artifact) -> None:
    done = command("check-engine", engine.path)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f"{engine.path}: compatible"
    assert done.err == ""


def test_the_newest_engine_is_checked_by_default(
    command: Command, engine: Artifact, tmp_path: Path
) -> None:
    done = command("check-engine", "-o", tmp_path)
    assert done.code == 0, done.err
    assert f"taking the newest engine, {engine.path}" in done.err
    assert command("check-engine", "-o", tmp_path / "empty").code == 2


def test_the_findings_are_there_as_json(command: Command, engine: Artifact) -> None:
    done = command("check-engine", engine.path, "--format", "json")
    found = json.loads(done.out)
    assert found["verdict"] == "compatible"
    assert {each["check"] for each in found["findings"]} >= {"sha256", "sidecar", "runtime"}


def test_an_incompatible_engine_ends_with_1_and_the_command_that_builds_it_anew(
    command: Command, engine: Artifact
) -> None:
    engine.path.write_bytes(engine.path.read_bytes() + b"\0")
    done = command("check-engine", engine.path)
    assert done.code == 1
    assert "is not the file that" in done.err
    assert "try: tresnet-deploy build-engine" in done.err
    assert done.out.splitlines()[-1] == f"{engine.path}: incompatible"


def test_what_cannot_be_told_ends_with_0_and_strictly_with_1(
    command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "theirs.xml"
    path.write_bytes(b"<net/>")
    lax, strict = command("check-engine", path), command("check-engine", path, "--strict")
    assert (lax.code, strict.code) == (0, 1)
    assert "cannot tell: " in lax.out
    assert "if it does not load: " in lax.err
    assert "has no sidecar" in strict.err


@pytest.mark.parametrize("name", ["gone.xml", "folder"])
def test_what_is_no_file_ends_with_2(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    done = command("check-engine", tmp_path / name)
    assert done.code == 2
    assert done.err.startswith("error: ")


def test_a_graph_is_no_engine(command: Command, classifier: Artifact) -> None:
    done = command("check-engine", classifier.path)
    assert done.code == 2
    assert "only engines are checked" in done.err


def test_a_command_that_loads_an_edited_engine_is_stopped(
    command: Command, engine: Artifact, class_folders: Path
) -> None:
    sidecar = artifacts.sidecar_of(engine.path)
    fields = json.loads(sidecar.read_bytes())
    assert fields["versions"]["tresnet-deploy"] == __version__
    fields["preprocess"]["mean"] = [0.5, 0.5, 0.5]
    sidecar.write_text(json.dumps(fields))
    done = command("predict", "--engine", engine.path, class_folders / "ant" / "0.png")
    assert done.code == 2
    assert "was edited after the build" in done.err
