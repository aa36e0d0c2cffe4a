"""The whole way: trained weights, real images, real runtimes, and engines good and bad."""

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tresnet_deploy import artifacts
from tresnet_deploy.artifacts import from_json
from tresnet_deploy.cli.compare import command as click_command
from tresnet_deploy.contracts import Artifact, Batch, FileDigest, Precision
from tresnet_deploy.parity import DEFAULTS
from tresnet_deploy.results import ParityReport

Command = Callable[..., Any]


def engine_of(
    graph: Artifact,
    path: Path,
    *,
    noise: float = 0.0,
    precision: Precision = "fp32",
    batch: Batch | None = None,
) -> Artifact:
    """Publish a copy of ``graph`` as an ONNX Runtime engine; ``noise`` shakes its classifier."""
    model = onnx.load(graph.path)
    for weight in model.graph.initializer:
        values = numpy_helper.to_array(weight)
        if noise and values.ndim == 2 and graph.labels.classes in values.shape:
            shaken = values + np.random.default_rng(1).normal(scale=noise, size=values.shape)
            weight.CopyFrom(numpy_helper.from_array(shaken.astype(values.dtype), weight.name))
    with artifacts.publishing(path, overwrite=False) as staging:
        onnx.save(model, staging.path)
        return staging.finish(
            replace(
                graph,
                path=path,
                kind="engine",
                step="build",
                precision=precision,
                backend="onnxruntime",
                batch=batch,
                settings={**graph.settings, "onnxruntime.overflow_safe": True},
                parents=(FileDigest(name=graph.path.name, sha256=graph.sha256),),
            )
        )


@pytest.fixture
def graph(folder: Path, demo_graph: Artifact) -> Artifact:
    return artifacts.read(folder / demo_graph.path.name)


def report_in(folder: Path) -> ParityReport:
    path = folder / "parity.json"
    return from_json(path.read_bytes(), ParityReport, name=str(path))


def test_the_newest_engine_and_everything_before_it_pass(
    command: Command, folder: Path, graph: Artifact
) -> None:
    engine = engine_of(
        graph, folder / "net.fp32.onnxruntime.onnx", batch=Batch(min=1, opt=8, max=8)
    )
    done = command("compare", "--output", folder, "--samples", 20)
    assert done.code == 0, done.err
    report = report_in(folder)
    assert [stage.stage for stage in report.stages] == [
        "deploy form",
        "ONNX",
        "engine (onnxruntime)",
    ]
    assert report.stages[-1].sha256 == engine.sha256
    assert report.reference_accuracy is not None
    assert report.reference_accuracy.top1 is not None
    assert report.reference_accuracy.top1 > 0.8
    assert "verdict: pass" in done.out
    assert "accuracy on 20 labelled images" in done.out
    assert "taking the newest engine" in done.err
    assert f"next: tresnet-deploy benchmark --output {folder}" in done.err
    assert len((folder / "parity" / "images.txt").read_text().splitlines()) == 20


@pytest.mark.usefixtures("bf16_runs")
def test_a_broken_engine_fails_with_one_and_the_report_is_written(
    command: Command, folder: Path, graph: Artifact
) -> None:
    engine_of(graph, folder / "net.int8.onnxruntime.onnx", noise=0.3, precision="int8")
    done = command("compare", "--output", folder, "--samples", 20)
    assert done.code == 1
    report = report_in(folder)
    assert report.verdict == "fail"
    assert [stage.passed for stage in report.stages] == [True, True, False]
    assert "error: parity failed, first at engine (onnxruntime): " in done.err
    assert "try: tresnet-deploy build-engine --int8 --calibration-data DIR" in done.err
    assert f"try: tresnet-deploy build-engine --precision bf16 --output {folder}" in done.err
    assert "verdict: fail" in done.out
    assert "flips of engine (onnxruntime)" in done.out


def test_json_on_stdout_is_the_report_in_the_folder(
    command: Command, folder: Path, graph: Artifact
) -> None:
    done = command("compare", graph.path, "--samples", 10, "--format", "json", "--quiet")
    assert done.code == 0, done.err
    assert from_json(done.out.encode(), ParityReport, name="stdout") == report_in(folder)


def test_a_bound_of_the_users_fails_a_sound_engine(
    command: Command, folder: Path, graph: Artifact
) -> None:
    done = command("compare", graph.path, "--samples", 10, "--max-error", 0)
    assert done.code == 1
    assert "largest error" in done.err


def test_two_engines_are_compared_in_one_run(
    command: Command, folder: Path, graph: Artifact
) -> None:
    first = engine_of(graph, folder / "a.onnxruntime.onnx")
    second = engine_of(graph, folder / "b.onnxruntime.onnx", noise=1e-6)
    done = command("compare", first.path, second.path, "--samples", 10)
    assert done.code == 0, done.err
    names = [stage.stage for stage in report_in(folder).stages]
    assert names[1:] == [
        "ONNX",
        "engine (onnxruntime), a.onnxruntime.onnx",
        "engine (onnxruntime), b.onnxruntime.onnx",
    ]


def test_engines_of_the_same_bytes_and_another_precision_are_two_stages(
    command: Command, folder: Path, graph: Artifact
) -> None:
    first = engine_of(graph, folder / "a.onnxruntime.onnx")
    second = engine_of(graph, folder / "b.onnxruntime.onnx", precision="bf16")
    assert first.sha256 == second.sha256
    done = command("compare", first.path, second.path, "--samples", 10)
    assert done.code == 0, done.err
    stages = report_in(folder).stages[-2:]
    assert [(stage.stage, stage.precision, stage.file) for stage in stages] == [
        ("engine (onnxruntime), fp32", "fp32", "a.onnxruntime.onnx"),
        ("engine (onnxruntime), bf16", "bf16", "b.onnxruntime.onnx"),
    ]


@pytest.fixture
def two_folders(
    folder: Path, graph: Artifact, tmp_path: Path
) -> Callable[[float], tuple[Artifact, Artifact]]:
    """Build an engine of one graph in two folders of one name, the second one shaken by noise."""

    def build(noise: float) -> tuple[Artifact, Artifact]:
        second = tmp_path / "s2" / folder.name
        shutil.copytree(folder, second)
        name = "net.fp32.onnxruntime.onnx"
        copied = artifacts.read(second / graph.path.name)
        return engine_of(graph, folder / name), engine_of(copied, second / name, noise=noise)

    return build


@pytest.mark.parametrize("noise", [0.0, 1e-6])
def test_engines_of_one_name_from_two_folders_are_told_apart_and_share_their_graph(
    command: Command,
    two_folders: Callable[[float], tuple[Artifact, Artifact]],
    noise: float,
) -> None:
    first, second = two_folders(noise)
    done = command("compare", first.path, second.path, "--samples", 10, "--blame")
    assert done.code == 0, done.err
    stages = report_in(first.path.parent).stages
    assert [stage.stage for stage in stages] == [
        "deploy form",
        "ONNX",
        "engine (onnxruntime), deploy/net.fp32.onnxruntime.onnx",
        "engine (onnxruntime), s2/deploy/net.fp32.onnxruntime.onnx",
    ]
    assert [stage.sha256 for stage in stages[-2:]] == [first.sha256, second.sha256]
    assert all(stage.blocks for stage in stages)
    assert (stages[-1].blocks == stages[-2].blocks) is (noise == 0)


def test_graphs_of_one_name_from_two_folders_are_two_stages(
    command: Command, two_folders: Callable[[float], tuple[Artifact, Artifact]], folder: Path
) -> None:
    graphs = [engine.path.with_name("tresnet.onnx") for engine in two_folders(0.0)]
    done = command("compare", *graphs, "--samples", 10)
    assert done.code == 0, done.err
    assert [stage.stage for stage in report_in(folder).stages][1:] == [
        "ONNX, deploy/tresnet.onnx",
        "ONNX, s2/deploy/tresnet.onnx",
    ]


def test_a_file_that_is_named_twice_is_one_stage(
    command: Command, folder: Path, graph: Artifact
) -> None:
    again = folder / ".." / folder.name / graph.path.name
    done = command("compare", graph.path, again, "--samples", 10)
    assert done.code == 0, done.err
    assert [stage.stage for stage in report_in(folder).stages] == ["deploy form", "ONNX"]


def test_a_graph_made_anew_since_is_left_out_with_a_warning(
    command: Command, folder: Path, graph: Artifact
) -> None:
    engine_of(graph, folder / "net.onnxruntime.onnx")
    model = onnx.load(graph.path)
    model.doc_string = "made anew"
    with artifacts.publishing(graph.path, overwrite=True) as staging:
        onnx.save(model, staging.path)
        staging.finish(graph)
    done = command("compare", "--output", folder, "--samples", 10)
    assert done.code == 0
    assert "tresnet.onnx is not compared: it was made anew after net.onnxruntime.onnx" in done.err
    assert [stage.stage for stage in report_in(folder).stages][1:] == ["engine (onnxruntime)"]


def test_a_graph_that_is_gone_is_left_out_with_a_warning(
    command: Command, folder: Path, graph: Artifact
) -> None:
    engine_of(graph, folder / "net.onnxruntime.onnx")
    graph.path.unlink()
    done = command("compare", "--output", folder, "--samples", 10)
    assert done.code == 0
    assert "tresnet.onnx is not compared: there is no file" in done.err


def test_engines_of_different_weights_share_no_reference(
    command: Command, folder: Path, graph: Artifact
) -> None:
    first = engine_of(graph, folder / "a.onnxruntime.onnx")
    other = replace(graph, source=replace(graph.source, sha256="f" * 64))
    second = engine_of(other, folder / "b.onnxruntime.onnx")
    done = command("compare", first.path, second.path)
    assert done.code == 2
    assert "have different weights" in done.err


def test_a_checkpoint_that_changed_is_refused(
    command: Command, folder: Path, graph: Artifact
) -> None:
    moved = replace(graph, source=replace(graph.source, sha256="f" * 64))
    engine = engine_of(moved, folder / "a.onnxruntime.onnx")
    done = command("compare", engine.path)
    assert done.code == 2
    assert "have changed since they were named" in done.err
    assert not (folder / "parity.json").exists()


def test_a_folder_without_an_engine_says_how_to_build_one(command: Command, tmp_path: Path) -> None:
    done = command("compare", "--output", tmp_path)
    assert done.code == 2
    assert "there is no engine" in done.err
    assert "try: tresnet-deploy build-engine" in done.err


def test_without_pytorch_the_command_says_how_to_get_it(
    command: Command, graph: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib
    import sys

    monkeypatch.delitem(sys.modules, "tresnet_deploy.backends.pytorch", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    importlib.invalidate_caches()
    done = command("compare", graph.path)
    assert done.code == 3
    assert "try: pip install 'tresnet-deploy[pytorch]'" in done.err


def test_an_empty_image_folder_is_refused(
    command: Command, graph: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    done = command("compare", graph.path, "--images", tmp_path / "empty")
    assert done.code == 2
    assert "there are no images in" in done.err


def test_the_help_shows_the_default_gates_as_they_are() -> None:
    table = click_command.epilog
    assert table is not None
    for precision, bounds in DEFAULTS.items():
        (row,) = re.findall(rf"^  {precision} .*$", table, re.MULTILINE)
        _, cosine, agreement, _, drop, *_ = row.split()
        assert float(cosine) == bounds.min_cosine
        assert float(agreement) == pytest.approx(100 * bounds.min_agreement)
        assert float(drop) == pytest.approx(100 * bounds.max_drop)
    assert DEFAULTS["fp32"].max_error == pytest.approx(0.001)
    assert "0.1 % of their spread" in table
