"""``inspect`` shows what a builder fused: of an engine always, of a graph when asked."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import onnx
import onnx.parser
import pytest

from tresnet_deploy import artifacts, fusions
from tresnet_deploy.contracts import Artifact, Batch

TEXT = Path(__file__).resolve().parents[1] / "fusions" / "rtx_1_7_int8.txt"


def built(classifier: Artifact, folder: Path, layers: bytes | None) -> Artifact:
    described = dataclasses.replace(
        classifier,
        kind="engine",
        step="build-engine",
        precision="int8",
        backend="tensorrt-rtx",
        batch=Batch(),
    )
    with artifacts.publishing(folder / "net.engine", overwrite=False) as staging:
        staging.path.write_bytes(b"plan")
        if layers is not None:
            fusions.companion_of(staging.path).write_bytes(layers)
        return staging.finish(described)


@pytest.fixture
def engine(classifier: Artifact, tmp_path: Path) -> Artifact:
    report = fusions.parse(TEXT.read_text("utf-8"))
    return built(classifier, tmp_path, artifacts.to_json(report))


def test_an_engine_shows_totals_and_findings(command, engine: Artifact) -> None:
    done = command("inspect", engine.path)
    assert done.code == 0
    assert "Kernels, by the builder's log" in done.out
    assert "kernels        22 (kgen 11, correlation 9, avgpool 1, runtime_fusion 1)" in done.out
    assert "unfused Q, DQ  2" in done.out
    assert "layer2.0.blur/BlurPool2d/QuantizeLinear" in done.out
    assert "note: the graph was not at hand" in done.out
    assert "computes" not in done.out


def test_fused_layers_lists_each_kernel_of_an_engine(command, engine: Artifact) -> None:
    done = command("inspect", engine.path, "--fused-layers")
    lines = done.out.splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.endswith("computes"))
    assert len(lines) - head - 1 == 22
    assert lines[head + 2].split() == [
        "2",
        "correlation",
        "Int8",
        "Float",
        "float",
        "output",
        "stem.conv/Conv",
    ]


def test_json_holds_all_kernels(command, engine: Artifact) -> None:
    found = json.loads(command("inspect", engine.path, "--format", "json").out)["layers"]
    assert found["totals"]["kernels"] == 22
    assert found["kernels"][2]["origin"][0] == "stem.conv/Conv"
    assert found["kernels"][2]["inputs"][0]["dtype"] == "Int8"


def test_an_engine_whose_builder_names_no_kernels_says_so(
    command, classifier: Artifact, tmp_path: Path
) -> None:
    engine = built(classifier, tmp_path, None)
    assert "Kernels" not in command("inspect", engine.path).out
    assert "its backend names none" in command("inspect", engine.path, "--fused-layers").out


def test_a_text_that_was_not_understood_shows_the_reason(
    command, classifier: Artifact, tmp_path: Path
) -> None:
    report = fusions.parse("Layers of a later version")
    engine = built(classifier, tmp_path, artifacts.to_json(report))
    done = command("inspect", engine.path)
    assert done.code == 0
    assert "not known: the builder's text lists no layers" in done.out


@pytest.mark.parametrize("layers", [b"", b"{}", b'{"schema_version": 99}', b"[" * 10_000])
def test_a_report_that_cannot_be_read_does_not_hide_the_engine(
    command, classifier: Artifact, tmp_path: Path, layers: bytes
) -> None:
    engine = built(classifier, tmp_path, layers)
    done = command("inspect", engine.path)
    assert done.code == 0
    assert "int8 engine of tensorrt-rtx" in done.out
    assert "not known: " in done.out


def test_an_edited_report_is_not_believed(command, engine: Artifact) -> None:
    fusions.companion_of(engine.path).write_bytes(b"{}")
    done = command("inspect", engine.path)
    assert (done.code, done.out) == (2, "")
    assert "is not the file that" in done.err


@pytest.fixture
def rtx() -> None:
    pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")


@pytest.mark.usefixtures("rtx")
def test_a_graph_is_built_for_its_kernels_and_nothing_is_left_behind(
    command, classifier: Artifact
) -> None:
    before = set(classifier.path.parent.iterdir())
    done = command("inspect", classifier.path, "--fused-layers")
    assert done.code == 0
    assert "Kernels, by the builder's log" in done.out
    assert "node_of_logits" in done.out.partition("computes")[2]
    assert set(classifier.path.parent.iterdir()) == before


@pytest.mark.usefixtures("rtx")
def test_a_foreign_graph_of_any_rank_can_be_asked(command, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    text = '<ir_version: 10, opset_import: ["" : 18]> net (float[N,4] x) => (float[N,4] y) '
    onnx.save(onnx.parser.parse_model(text + "{ [act] y = Relu(x) }"), path)
    done = command("inspect", path, "--fused-layers")
    assert done.code == 0
    assert "act" in done.out.partition("computes")[2]


@pytest.mark.usefixtures("rtx")
def test_a_graph_that_the_builder_refuses_is_one_error_with_code_4(command, tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    text = '<ir_version: 10, opset_import: ["" : 18]> net (float[2,2] x) => (float y) '
    onnx.save(onnx.parser.parse_model(text + "{ [det] y = Det(x) }"), path)
    done = command("inspect", path, "--fused-layers")
    assert (done.code, done.out) == (4, "")
    assert "Det" in done.err
    assert "Traceback" not in done.err


@pytest.mark.usefixtures("rtx")
def test_types_that_meet_are_named_as_the_cause_and_not_the_missing_gpu(
    command, tmp_path: Path
) -> None:
    path = tmp_path / "net.onnx"
    text = (
        '<ir_version: 10, opset_import: ["" : 18]> '
        "net (float[N,4] x, float16[N,4] u) => (float[N,4] y) { [sum] y = Add(x, u) }"
    )
    onnx.save(onnx.parser.parse_model(text), path)
    done = command("inspect", path, "--fused-layers")
    assert done.code == 4
    assert "tensors of two types meet" in done.err
    assert "GPU" not in done.err


def test_a_checkpoint_has_no_kernels(command, tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(b"PK\x03\x04")
    done = command("inspect", path, "--fused-layers")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {path} is a checkpoint, which has no kernels")
