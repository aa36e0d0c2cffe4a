"""FP8 graphs: placed like INT8 ones, on another grid."""

import dataclasses
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.backends import onnxruntime
from tresnet_deploy.contracts import Array, Artifact, Batch, run
from tresnet_deploy.errors import ArtifactError, BuildError
from tresnet_deploy.images import demo_images
from tresnet_deploy.precision.grids import FP8, INT8, grid_of
from tresnet_deploy.precision.half import to_half
from tresnet_deploy.precision.pairs import activation_scale, insert, quantized, weight_scales
from tresnet_deploy.precision.placement import place
from tresnet_deploy.quantize import QuantizeOptions, quantize

from .conftest import Network, evaluated, ranges_of, snr_db

E4M3 = ir.DataType.FLOAT8E4M3FN


@pytest.fixture
def fp8(network: Network, images: Array) -> ir.Model:
    model = network("linear")
    insert(model, place(model.graph), ranges_of(network("linear"), images), grid=FP8)
    return model


def test_the_network_is_valid_and_near_the_float_one(
    fp8: ir.Model, network: Network, images: Array
) -> None:
    onnx.checker.check_model(ir.to_proto(fp8), full_check=True)
    assert fp8.opset_imports[""] == 19
    assert snr_db(evaluated(fp8, images), evaluated(network("linear"), images)) > 15


def test_the_pairs_stand_where_those_of_int8_stand(
    fp8: ir.Model, network: Network, images: Array
) -> None:
    other = network("linear")
    insert(other, place(other.graph), ranges_of(network("linear"), images), grid=INT8)
    assert [node.name for node in fp8.graph] == [node.name for node in other.graph]
    kinds = {v.dtype for v in fp8.graph.initializers.values()}
    assert ir.DataType.INT8 not in kinds
    assert E4M3 in kinds


def test_an_activation_saturates_at_its_range(network: Network) -> None:
    assert activation_scale(448.0, FP8) == 1
    assert FP8.rounded(np.array([1e9, -1e9, 0.0])).astype(float).tolist() == [448, -448, 0]


def test_weights_are_off_by_a_sixteenth_at_most() -> None:
    weights = np.random.default_rng(0).uniform(0.1, 1, (4, 2, 3, 3)).astype(np.float32)
    scales = weight_scales(weights, 0, np.zeros(4), FP8)
    restored = quantized(weights, scales, 0, FP8).astype(np.float32) * scales.reshape(4, 1, 1, 1)
    np.testing.assert_allclose(restored, weights, rtol=1 / 16)


def test_the_filter_of_the_blur_is_kept_exactly() -> None:
    line = np.array([1, 2, 1], np.float32)
    blur = np.tile(np.outer(line, line) / 16, (4, 1, 1, 1)).astype(np.float32)
    scales = weight_scales(blur, 0, np.zeros(4), FP8)
    restored = quantized(blur, scales, 0, FP8).astype(np.float32) * scales.reshape(4, 1, 1, 1)
    np.testing.assert_array_equal(restored, blur)


@pytest.mark.parametrize("dtype", [ir.DataType.FLOAT16, ir.DataType.BFLOAT16])
def test_its_remainder_can_be_half(fp8: ir.Model, images: Array, dtype: ir.DataType) -> None:
    wanted = evaluated(fp8, images)
    to_half(fp8, dtype)
    onnx.checker.check_model(ir.to_proto(fp8), full_check=True)
    assert snr_db(evaluated(fp8, images), wanted) > 20


def test_a_grid_that_tensorrt_does_not_take_is_named() -> None:
    value = ir.Value(name="w", type=ir.TensorType(ir.DataType.UINT8))
    with pytest.raises(ArtifactError, match="w is quantised to UINT8; INT8 and FP8"):
        grid_of(value)


@pytest.fixture(scope="module")
def made(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The trained network in the box, quantised by the step."""
    return quantize(
        demo_graph,
        tmp_path_factory.mktemp("fp8") / "tresnet.fp8.onnx",
        images=demo_images("calibration"),
        options=QuantizeOptions(samples=40),
        precision="fp8",
    )


def test_the_step_calibrates_checks_and_records(made: Artifact) -> None:
    assert (made.precision, made.step) == ("fp8", "quantize")
    assert made.settings["fp8_layers"] == 60
    assert made.verified is not None
    assert float(made.verified.split()[1]) > 15
    assert artifacts.read(made.path) == made
    assert ml_dtypes.finfo(ml_dtypes.float8_e4m3fn).max == FP8.limit


def test_onnx_runtime_computes_what_the_graph_says(made: Artifact) -> None:
    images = np.random.default_rng(0).random((1, 3, 64, 64), dtype=np.float32)
    session = onnxruntime.load(made)
    found = run(session, {"images": images})["logits"]
    session.close()
    assert snr_db(found, evaluated(graph_files.load(made.path), images)) > 40


def test_tensorrt_rtx_builds_it_for_gpus_that_have_fp8(made: Artifact, tmp_path: Path) -> None:
    rtx = pytest.importorskip(
        "tresnet_deploy.backends.tensorrt_rtx",
        reason="tensorrt-rtx is not installed",
        exc_type=ImportError,
    )
    options = dataclasses.replace(rtx.options_for("fp8"), compute_capabilities="8.9,12.0")
    engine = rtx.build(made, tmp_path / "engine", batch=Batch(), options=options)
    assert engine.path.stat().st_size > 0
    older = dataclasses.replace(options, compute_capabilities="8.0")
    with pytest.raises(BuildError, match=r"FP8 needs compute capability 8\.9 or higher"):
        rtx.build(made, tmp_path / "older", batch=Batch(), options=older)
    assert not (tmp_path / "older").exists()
