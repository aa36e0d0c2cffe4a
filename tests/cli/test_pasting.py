"""Commands that are printed to be pasted name each path as one word, also one with spaces."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, hints, trust
from tresnet_deploy.contracts import Artifact, FileDigest, Labels
from tresnet_deploy.errors import ArtifactError

from .conftest import NAMES, Command, save_classifier

FAST = ("--rounds", 2, "--seconds", 0.005, "--quick", "--batches", "1")


@pytest.fixture
def spaced(tmp_path: Path) -> Path:
    """A folder with a space in its name, as those of people have."""
    path = tmp_path / "my out"
    path.mkdir()
    return path


@pytest.fixture
def graph(spaced: Path) -> Artifact:
    return save_classifier(spaced / "stripes.onnx", labels=Labels(classes=6, names=NAMES))


@pytest.fixture
def engine(graph: Artifact) -> Artifact:
    """The graph, filed as the engine that ONNX Runtime built of it."""
    path = graph.path.with_name("stripes.fp32.onnxruntime.onnx")
    described = replace(
        graph,
        path=path,
        kind="engine",
        step="build-engine",
        backend="onnxruntime",
        parents=(FileDigest(name=graph.path.name, sha256=graph.sha256),),
    )
    with artifacts.publishing(path, overwrite=False) as staging:
        staging.path.write_bytes(graph.path.read_bytes())
        return staging.finish(described)


def commands(talk: str) -> list[list[str]]:
    """Return the words of each line that shows a command, as a shell would take them."""
    shown = [line for line in talk.splitlines() if "tresnet-deploy " in line]
    return [shlex.split(line[line.index("tresnet-deploy ") :]) for line in shown]


def test_the_default_folder_needs_no_option() -> None:
    assert hints.output_suffix(Path("deploy")) == ""
    assert hints.output_suffix(Path("./deploy")) == ""
    assert hints.output_suffix(Path("my out")) == " --output 'my out'"


def test_a_bundle_with_a_space_is_rebuilt_by_the_command_that_is_shown(
    command: Command, engine: Artifact, spaced: Path
) -> None:
    target = spaced / "u 1.tar"
    done = command("package", engine.path, "--format", "bundle", "--to", target)
    assert done.code == 0, done.err
    assert commands(done.err)[-1] == ["tresnet-deploy", "rebuild", "u 1.tar"]


def test_triton_is_given_its_repository_as_one_word(
    command: Command, engine: Artifact, spaced: Path
) -> None:
    done = command("package", engine.path, "--format", "triton", "-q")
    assert done.code == 0, done.err
    done = command("package", engine.path, "--format", "triton", "--overwrite")
    repository = f"--model-repository={(spaced / 'triton').resolve()}"
    assert shlex.split(done.err.splitlines()[-1])[-2:] == ["tritonserver", repository]


def test_after_a_benchmark_the_folder_is_found_again(
    command: Command, engine: Artifact, class_folders: Path, spaced: Path
) -> None:
    done = command("benchmark", engine.path, "--images", class_folders, "--no-eager", *FAST)
    assert done.code == 0, done.err
    assert commands(done.err)[-1][-2:] == ["--output", str(spaced)]


def test_after_a_preflight_the_file_is_found_again(command: Command, graph: Artifact) -> None:
    done = command("preflight", graph.path, "--no-parser")
    assert commands(done.err)[-1][:3] == ["tresnet-deploy", "build-engine", str(graph.path)]


def test_an_engine_that_was_changed_is_built_anew_where_it_lies(
    command: Command, engine: Artifact, graph: Artifact, spaced: Path
) -> None:
    engine.path.write_bytes(engine.path.read_bytes() + b"\0")
    done = command("check-engine", engine.path)
    assert commands(done.err)[-1][-2:] == ["--output", str(spaced)]
    with pytest.raises(ArtifactError, match="is not the file that") as caught:
        trust.check_before_loading(engine)
    rebuild, check = map(shlex.split, caught.value.hints)
    assert rebuild[:3] == ["tresnet-deploy", "build-engine", str(graph.path)]
    assert rebuild[-2:] == ["--output", str(spaced)]
    assert check == ["tresnet-deploy", "check-engine", str(engine.path)]


def test_a_file_of_other_settings_in_the_way_is_built_from_where_it_lies(
    command: Command, folder: Path, spaced: Path
) -> None:
    moved = folder.rename(spaced / "inner")
    (moved / "tresnet.fp16.onnx").write_bytes(b"another graph")
    done = command("build-engine", "--fp16", "--backend", "onnxruntime", "-o", moved)
    assert done.code == 2
    line = next(line for line in done.err.splitlines() if "to build from it as it is" in line)
    words = shlex.split(line.partition(", to build")[0])
    assert words[-3:] == [str(moved / "tresnet.fp16.onnx"), "--output", str(moved)]


def test_a_missing_file_is_made_where_it_was_looked_for(command: Command, spaced: Path) -> None:
    for arguments in (("predict",), ("build-engine",), ("check-engine",), ("benchmark",)):
        done = command(*arguments, "-o", spaced)
        assert done.code == 2
        assert commands(done.err)[-1][-2:] == ["--output", str(spaced)]
