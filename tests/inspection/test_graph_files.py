"""What inspect says of ONNX files, ours and anybody's, and that bad ones are one error."""

from pathlib import Path

import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import ArtifactError
from tresnet_deploy.inspection import GraphReport, inspect

FOREIGN = """
<ir_version: 10, opset_import: ["" : 18, "tresnet" : 1], producer_name: "sometool",
 producer_version: "1.5", metadata_props: ["author" : "somebody"]>
net (float[n,3,8,8] images) => (float[n,48,2,2] maps)
<float scale = {0.1}, int8 zero = {0}>
{
  moved = tresnet.SpaceToDepth(images)
  small = QuantizeLinear(moved, scale, zero)
  back = DequantizeLinear(small, scale, zero)
  maps = Relu(back)
}
<domain: "tresnet", opset_import: ["" : 18]>
SpaceToDepth (x) => (y)
{
  y = SpaceToDepth <blocksize: int = 4> (x)
}
"""


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    path = tmp_path / "foreign.onnx"
    onnx.save(onnx.parser.parse_model(FOREIGN), path)
    return path


def report_on(path: Path) -> GraphReport:
    report = inspect(path)
    assert isinstance(report, GraphReport)
    return report


def test_a_foreign_file_is_described_from_its_graph(foreign: Path) -> None:
    report = report_on(foreign)
    assert report.producer == "sometool 1.5"
    assert report.opsets == {"": 18, "tresnet": 1}
    assert report.inputs[0].shape == ("n", 3, 8, 8)
    assert report.outputs[0].name == "maps"
    assert report.metadata == {"author": "somebody"}
    assert report.artifact is None


def test_operators_are_counted_and_functions_told_apart(foreign: Path) -> None:
    report = report_on(foreign)
    counts = {each.operator: each.count for each in report.operators}
    assert counts == {
        "tresnet::SpaceToDepth": 1,
        "QuantizeLinear": 1,
        "DequantizeLinear": 1,
        "Relu": 1,
    }
    (function,) = report.functions
    assert (function.function, function.body_nodes, function.calls) == (
        "tresnet::SpaceToDepth",
        1,
        1,
    )
    assert (report.quantize_nodes, report.dequantize_nodes) == (1, 1)


def test_a_file_is_known_by_its_bytes_whatever_its_name(foreign: Path) -> None:
    assert report_on(foreign.rename(foreign.with_name("model.bin"))).kind == "onnx"


def test_our_own_file_tells_its_artefact_even_without_its_sidecar(
    foreign: Path, artifact: Artifact
) -> None:
    model = ir.load(foreign)
    graph_files.embed(model, artifact)
    target = foreign.with_name("ours.onnx")
    with artifacts.publishing(target, overwrite=False) as staging:
        graph_files.save(model, staging.path)
        done = staging.finish(artifact)
    assert report_on(target).artifact == done
    assert report_on(target).metadata == {"author": "somebody"}
    artifacts.sidecar_of(target).unlink()
    alone = report_on(target).artifact
    assert alone is not None
    assert alone.preprocess == artifact.preprocess


def test_a_sidecar_of_another_file_is_refused(foreign: Path, artifact: Artifact) -> None:
    with artifacts.publishing(foreign, overwrite=True) as staging:
        staging.path.write_bytes(foreign.read_bytes())
        staging.finish(artifact)
    foreign.write_bytes(foreign.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="is not the file"):
        inspect(foreign)


@pytest.mark.parametrize("data", [b"", b"\x08", b"\x08\x0a\x12", b"not a model at all"])
def test_a_damaged_file_is_one_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "model.onnx").write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        inspect(tmp_path / "model.onnx")
