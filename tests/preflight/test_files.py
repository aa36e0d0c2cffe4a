"""Files as they come: damaged ones, weights kept elsewhere, and our own, which must be clean."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from tresnet_deploy import preflight
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import ArtifactError, UsageError

from .conftest import graph

TEXT = "(float[N,4] x) => (float[N,2] y) { y = MatMul(x, w) }"
WEIGHTS = {"w": np.ones((4, 2), np.float32)}


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A graph that keeps its weights in net.data."""
    path = tmp_path / "net.onnx"
    proto = ir.to_proto(graph(TEXT, weights=WEIGHTS))
    onnx.save(proto, path, save_as_external_data=True, location="net.data", size_threshold=0)
    return path


def test_weights_in_another_file_are_no_finding(outside: Path) -> None:
    assert preflight.check(outside, parser=False).findings == ()


def test_a_missing_weights_file_is_an_error_and_the_parser_is_not_asked(outside: Path) -> None:
    outside.with_name("net.data").unlink()
    report = preflight.check(outside)
    (found,) = report.findings
    assert (found.rule, found.severity) == ("TRT003", "error")
    assert "net.data" in found.message
    assert report.parser.state == "not asked"


def test_a_truncated_weights_file_is_an_error(outside: Path) -> None:
    outside.with_name("net.data").write_bytes(b"\0" * 8)
    (found,) = preflight.check(outside, parser=False).findings
    assert found.rule == "TRT003"
    assert "has 8 bytes" in found.message


def test_weights_outside_the_folder_are_an_error_and_are_not_read(outside: Path) -> None:
    proto = onnx.load(outside, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        entry.value = "/etc/hostname" if entry.key == "location" else entry.value
    outside.write_bytes(proto.SerializeToString())
    (found,) = preflight.check(outside, parser=False).findings
    assert found.rule == "TRT003"
    assert "outside its own folder" in found.message


@pytest.mark.parametrize("data", [b"", b"\x08", b"PK\x03\x04", b"\x00" * 100, b"<html>"])
def test_a_file_that_is_no_graph_is_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=r"net\.onnx is "):
        preflight.check(path)


def test_a_missing_file_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        preflight.check(tmp_path / "net.onnx")


CIRCLE = """
<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
net (float[N,4] x) => (float[N,4] y) { y = mine.Ping(x) }
<domain: "mine", opset_import: ["" : 18, "mine" : 1]>
Ping (a) => (b) { b = mine.Pong(a) }
<domain: "mine", opset_import: ["" : 18, "mine" : 1]>
Pong (a) => (b) { b = mine.Ping(a) }
"""


def test_functions_that_call_each_other_in_a_circle_are_one_error(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(CIRCLE), path)
    with pytest.raises(ArtifactError, match=r"net\.onnx"):
        preflight.check(path, parser=False)


def test_our_float_graph_is_clean(demo_graph: Artifact) -> None:
    assert preflight.check(demo_graph.path).findings == ()


def test_our_fp16_graph_is_clean(demo_half: Artifact) -> None:
    assert preflight.check(demo_half.path).findings == ()


def test_our_int8_graph_is_clean(demo_int8: Artifact) -> None:
    assert preflight.check(demo_int8.path).findings == ()


def test_quantising_every_layer_warns_of_blurs_and_squeezes(demo_all_int8: Artifact) -> None:
    found = {each.rule for each in preflight.check(demo_all_int8.path, parser=False).findings}
    assert found == {"TRT046", "TRT047"}


def test_nodes_that_lack_inputs_or_outputs_are_no_fault_of_ours(tmp_path: Path) -> None:
    """The weights' file is missing too, so nothing has checked the graph before the rules."""
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> net (float[N,4] x) => (float[N,4] y) '
        "{ a = Reshape(x) q = QuantizeLinear(a) b = DequantizeLinear() c = Conv() y = Relu(c) }"
    )
    proto.graph.node[1].ClearField("output")
    tensor = numpy_helper.from_array(np.ones(2, np.float32), "w")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.ClearField("raw_data")
    tensor.external_data.add(key="location", value="gone.data")
    proto.graph.initializer.append(tensor)
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    found = {each.rule for each in preflight.check(path, parser=False).findings}
    assert found == {"TRT003", "TRT005", "TRT040"}
