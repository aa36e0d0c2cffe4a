"""``package`` and ``rebuild``: what people see, and the exit code of each outcome."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, packaging
from tresnet_deploy.contracts import Artifact, Labels
from tresnet_deploy.packaging import Rebuilt, manifest
from tresnet_deploy.results import ParityReport

from .conftest import NAMES, Command, save_classifier


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An engine of ONNX Runtime beside the graph that it was built from."""
    from tresnet_deploy import build

    folder = tmp_path_factory.mktemp("deploy")
    graph = save_classifier(folder / "stripes.onnx", labels=Labels(classes=6, names=NAMES))
    return build.build(
        graph, folder / "stripes.fp32.onnxruntime.onnx", backend="onnxruntime", precision="fp32"
    )


@pytest.fixture
def bundle(command: Command, engine: Artifact, class_folders: Path, tmp_path: Path) -> Path:
    path = tmp_path / "stripes.tar"
    done = command(
        "package", engine.path, "--format", "bundle", "--to", path, "--images", class_folders
    )
    assert done.code == 0, done.err
    return path


def test_a_bundle_is_described_with_the_command_for_the_other_machine(
    command: Command, engine: Artifact, tmp_path: Path
) -> None:
    path = tmp_path / "stripes.bundle"
    done = command("package", engine.path, "--format", "bundle", "--to", path)
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == f"saved: {path}"
    assert "graph   stripes.onnx" in done.out
    assert "rebuild does it" in done.err
    assert "next, on the other machine: tresnet-deploy rebuild stripes.bundle" in done.err
    assert manifest.read(path).labels == "labels.txt"


def test_the_newest_engine_is_packed_beside_itself(command: Command, engine: Artifact) -> None:
    folder = engine.path.parent
    done = command("package", "--format", "triton", "-o", folder, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["name"] == "stripes_fp32"
    assert found["proof"].endswith("to the last bit")
    assert (folder / "triton" / "stripes_fp32" / "1" / "model.onnx").is_file()
    again = command("package", "--format", "triton", "-o", folder)
    assert again.code == 2
    assert "exists already" in again.err


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("bundle", "--max-batch=2"),
        ("bundle", "--failed"),
        ("triton", "--weights"),
        ("triton", "--samples=5"),
    ],
)
def test_an_option_of_the_other_format_is_refused(
    command: Command, engine: Artifact, tmp_path: Path, kind: str, option: str
) -> None:
    done = command("package", engine.path, "--format", kind, option, "--to", tmp_path / "it")
    assert done.code == 2
    assert f"changes nothing with --format {kind}" in done.err
    assert not (tmp_path / "it").exists()


def test_a_graph_is_no_engine_to_serve(command: Command, classifier: Artifact) -> None:
    done = command("package", classifier.path, "--format", "triton")
    assert done.code == 2
    assert "is no engine, and engines are what is served" in done.err
    assert f"build-engine {classifier.path} --backend onnxruntime" in done.err


def test_without_a_format_or_an_engine_nothing_is_guessed(
    command: Command, engine: Artifact, tmp_path: Path
) -> None:
    assert command("package", engine.path).code == 2
    done = command("package", "--format", "bundle", "-o", tmp_path)
    assert done.code == 2
    assert "there is no engine" in done.err


def test_a_rebuild_says_what_was_packed_and_what_was_built(
    command: Command, bundle: Path, tmp_path: Path
) -> None:
    done = command("rebuild", bundle, "-o", tmp_path / "there", "--no-compare")
    assert done.code == 0, done.err
    assert "packed      stripes.fp32.onnxruntime.onnx, built by onnxruntime" in done.out
    assert "check       cosine 1.000000" in done.out
    assert "compared    no: it was not asked for" in done.out
    engine = artifacts.read(tmp_path / "there" / "stripes.fp32.onnxruntime.onnx")
    assert engine.parents[0].name == "stripes.onnx"


def test_a_rebuild_is_there_as_json(command: Command, bundle: Path, tmp_path: Path) -> None:
    done = command("rebuild", bundle, "-o", tmp_path / "j", "--no-compare", "--format", "json")
    found = json.loads(done.out)
    assert found["engine"]["backend"] == "onnxruntime"
    assert found["parity"] is None


def test_a_damaged_or_missing_bundle_ends_with_2(
    command: Command, bundle: Path, tmp_path: Path
) -> None:
    bundle.write_bytes(bundle.read_bytes()[:5000])
    done = command("rebuild", bundle, "-o", tmp_path / "there")
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith(("error: ", "  try: "))
    assert not (tmp_path / "there").exists()
    assert command("rebuild", tmp_path / "no.tar").code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("threads",), "--option 'threads' is not NAME=VALUE"),
        (("=1",), "--option '=1' is not NAME=VALUE"),
        (("threads=1", "threads=2"), "the option threads is given twice"),
    ],
)
def test_a_malformed_option_ends_with_2(
    command: Command, bundle: Path, options: tuple[str, ...], message: str
) -> None:
    done = command("rebuild", bundle, *(part for each in options for part in ("-O", each)))
    assert done.code == 2
    assert message in done.err


def test_a_rebuild_that_fails_a_gate_ends_with_1(
    command: Command,
    bundle: Path,
    engine: Artifact,
    tmp_path: Path,
    *,
    monkeypatch: pytest.MonkeyPatch,
    parity_of: Callable[..., ParityReport],
) -> None:
    report = parity_of(engine, passed=False)

    def fails(place: Path, *_arguments: object, **_named: object) -> Rebuilt:
        with packaging.archive.opened(place) as folder:
            packed = manifest.read(folder)
        made = replace(engine, path=tmp_path / engine.path.name)
        return Rebuilt(engine=made, manifest=packed, parity=report)

    monkeypatch.setattr(packaging, "rebuild", fails)
    done = command("rebuild", bundle, "-o", tmp_path)
    assert done.code == 1
    assert "verdict: fail" in done.out
    assert "same top-1" in done.err
