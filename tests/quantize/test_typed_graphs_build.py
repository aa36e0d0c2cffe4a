"""What we type is what NVIDIA's builder takes: strongly typed, so a wrong type fails the build."""

from pathlib import Path

import onnx_ir as ir
import pytest

from tresnet_deploy import graph_files
from tresnet_deploy.contracts import Array, Batch
from tresnet_deploy.precision.grids import FP8, INT8
from tresnet_deploy.precision.half import to_half
from tresnet_deploy.precision.islands import FP16_MAX, mark
from tresnet_deploy.precision.pairs import insert
from tresnet_deploy.precision.placement import place

from .conftest import Network, ranges_of

rtx = pytest.importorskip(
    "tresnet_deploy.backends.tensorrt_rtx",
    reason="tensorrt-rtx is not installed",
    exc_type=ImportError,
)

FP16, BF16 = ir.DataType.FLOAT16, ir.DataType.BFLOAT16
NAMES = {FP16: "Half", BF16: "BFloat16"}


def kernels(model: ir.Model, folder: Path) -> str:
    path = folder / "graph.onnx"
    graph_files.save(model, path)
    text = rtx.layers_of(path, batch=Batch(min=1, opt=2, max=4))
    assert text is not None
    return str(text)


@pytest.mark.parametrize("dtype", [FP16, BF16], ids=["fp16", "bf16"])
def test_an_int8_graph_with_a_half_remainder_builds(
    network: Network, images: Array, dtype: ir.DataType, tmp_path: Path
) -> None:
    model = network("linear")
    insert(model, place(model.graph), ranges_of(network("linear"), images), grid=INT8)
    to_half(model, dtype)
    text = kernels(model, tmp_path)
    assert "Datatype: Int8" in text
    assert f"Datatype: {NAMES[dtype]}" in text


def test_a_bf16_graph_builds_since_its_norms_are_folded(network: Network, tmp_path: Path) -> None:
    model = network("linear")
    to_half(model, BF16)
    assert "Datatype: BFloat16" in kernels(model, tmp_path)


def test_an_fp16_graph_with_an_island_builds(network: Network, tmp_path: Path) -> None:
    model = network("linear")
    mark(model.graph, {"layer1.0.conv1.conv/Conv": FP16_MAX})
    to_half(model, FP16)
    (conv,) = (node for node in model.graph if node.name == "layer1.0.conv1.conv/Conv")
    assert conv.outputs[0].dtype == ir.DataType.FLOAT
    assert "Datatype: Half" in kernels(model, tmp_path)


@pytest.mark.parametrize("dtype", [None, FP16, BF16], ids=["fp32", "fp16", "bf16"])
def test_an_fp8_graph_builds_with_any_remainder(
    network: Network, images: Array, dtype: ir.DataType | None, tmp_path: Path
) -> None:
    model = network("linear")
    insert(model, place(model.graph), ranges_of(network("linear"), images), grid=FP8)
    if dtype is not None:
        to_half(model, dtype)
    assert "Datatype: FP8" in kernels(model, tmp_path)
