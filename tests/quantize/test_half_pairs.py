"""The FP16 or bf16 remainder of a graph with Q/DQ pairs."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tresnet_deploy import passes
from tresnet_deploy.backends import onnxruntime
from tresnet_deploy.contracts import Array, run
from tresnet_deploy.precision.half import BF16_OPSET, FP16_PAIRS_OPSET, to_half
from tresnet_deploy.precision.pairs import insert
from tresnet_deploy.precision.placement import ALL_ROLES, DEFAULT_ROLES, place

from .conftest import Network, evaluated, parsed, ranges_of, snr_db

FP16, BF16 = ir.DataType.FLOAT16, ir.DataType.BFLOAT16
TYPES = pytest.mark.parametrize("dtype", [FP16, BF16], ids=["fp16", "bf16"])
EXACT_IN_FP16 = 2.0**-17
PAIRS = ("QuantizeLinear", "DequantizeLinear")


@pytest.fixture(scope="module")
def quantized(network: Network, images: Array) -> Network:
    """A copy of the INT8 network of a kind; every layer that can be is quantised in "...all"."""
    kept: dict[str, onnx.ModelProto] = {}

    def copy(kind: str) -> ir.Model:
        if kind not in kept:
            plain = kind.removesuffix(" all")
            model = network(plain)
            if kind != plain:
                passes.run(model, ("inline-operators",))
            which = ALL_ROLES if kind != plain else DEFAULT_ROLES
            insert(model, place(model.graph, which=which), ranges_of(network(plain), images))
            kept[kind] = ir.to_proto(model)
        return ir.from_proto(kept[kind])

    return copy


def channels(model: ir.Model) -> dict[str, tuple[Array, Array]]:
    """Return the integers (channels, ...) and the scales of all dequantised weights."""
    found = {}
    for node in model.graph:
        steps = node.inputs[0]
        if node.op_type == PAIRS[1] and steps is not None and steps.const_value is not None:
            scale = node.inputs[1]
            assert scale is not None
            assert scale.const_value is not None
            array = np.moveaxis(steps.const_value.numpy(), node.attributes["axis"].as_int(), 0)
            found[str(node.name)] = array, scale.const_value.numpy().astype(np.float32)
    return found


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        # NumPy takes 10 s for a FP16 blur in a function; ONNX Runtime runs these below.
        *(("linear all", dtype) for dtype in (FP16, BF16)),
        *((kind, BF16) for kind in ("linear", "decoder", "frelu")),
    ],
)
def test_the_remainder_is_half_and_the_network_stays_valid_and_near(
    quantized: Network, images: Array, kind: str, dtype: ir.DataType
) -> None:
    model = quantized(kind)
    wanted, before = evaluated(model, images), channels(model)
    to_half(model, dtype)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert snr_db(evaluated(model, images), wanted) > (30 if dtype == FP16 else 15)
    for name, (steps, scales) in channels(model).items():
        exact = before[name][1] >= (EXACT_IN_FP16 if dtype == FP16 else 0)
        np.testing.assert_array_equal(steps[exact], before[name][0][exact])
        np.testing.assert_array_equal(scales[exact], before[name][1][exact])


@TYPES
def test_each_scale_has_the_type_of_what_it_scales(quantized: Network, dtype: ir.DataType) -> None:
    model = quantized("linear")
    to_half(model, dtype)
    kinds = set()
    for node in model.graph:
        if node.op_type not in PAIRS:
            continue
        scale = node.inputs[1]
        scaled = node.inputs[0] if node.op_type == PAIRS[0] else node.outputs[0]
        assert scale is not None
        assert scaled is not None
        assert scale.dtype == scaled.dtype
        kinds.add((node.op_type, scale.dtype))
    # The images are quantised in FP32, and all else in half.
    assert kinds == {(PAIRS[0], ir.DataType.FLOAT), (PAIRS[0], dtype), (PAIRS[1], dtype)}


@TYPES
def test_no_cast_comes_between_a_pair_and_its_layer(quantized: Network, dtype: ir.DataType) -> None:
    model = quantized("linear")
    to_half(model, dtype)
    casts = [node for node in model.graph if node.op_type == "Cast"]
    assert [cast.outputs[0].name for cast in casts] == ["logits"]
    for conv in (node for node in model.graph if node.op_type == "Conv"):
        assert conv.outputs[0].dtype == dtype


def test_the_opset_is_the_first_that_has_such_scales(quantized: Network) -> None:
    half, brain = quantized("linear"), quantized("linear")
    to_half(half, FP16)
    to_half(brain, BF16)
    assert half.opset_imports[""] == FP16_PAIRS_OPSET
    assert {f.opset_imports[""] for f in half.functions.values()} == {FP16_PAIRS_OPSET}
    assert brain.opset_imports[""] == BF16_OPSET


@pytest.mark.parametrize("kind", ["linear", "decoder", "frelu", "decoder all"])
def test_onnx_runtime_runs_the_fp16_remainder(quantized: Network, images: Array, kind: str) -> None:
    model = quantized(kind)
    wanted = evaluated(model, images)
    to_half(model, FP16)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    session = onnxruntime.session_of(model)
    found = run(session, {"images": images})["logits"]
    session.close()
    assert found.dtype == np.float32
    assert snr_db(found, wanted) > 30


def test_weights_too_small_for_fp16_scales_are_rounded_anew_and_none_vanishes() -> None:
    weights = np.array([[3e-4], [1e-6], [1.27]], np.float32)[:, :, None, None]
    model = parsed(
        "g (float[N,1,4,4] x) => (float[N,3,4,4] y) { r = Relu(x) y = Conv(r, w) }", w=weights
    )
    insert(model, place(model.graph), {"r": 1.0, "y": 1.0})
    to_half(model, FP16)
    (node,) = (n for n in model.graph if n.name == "w/DequantizeLinear")
    steps, scale = (value.const_value for value in node.inputs[:2] if value is not None)
    assert steps is not None
    assert scale is not None
    restored = steps.numpy() * scale.numpy().astype(np.float32).reshape(3, 1, 1, 1)
    assert scale.numpy().min() > 0
    np.testing.assert_allclose(restored, weights, rtol=0.02)
