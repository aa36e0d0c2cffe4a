import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tresnet_deploy.contracts import Array
from tresnet_deploy.precision.half import BF16_OPSET, to_half

from .conftest import Network, evaluated, parsed, snr_db

HALVES = [ir.DataType.FLOAT16, ir.DataType.BFLOAT16]
TYPES = pytest.mark.parametrize("dtype", HALVES, ids=["fp16", "bf16"])


@TYPES
@pytest.mark.parametrize("kind", ["linear", "decoder", "frelu"])
def test_a_half_network_is_valid_and_near_the_float_one(
    network: Network, images: Array, kind: str, dtype: ir.DataType
) -> None:
    model = network(kind)
    one = images[:1]  # NumPy takes seconds for it in FP16
    wanted = evaluated(model, one)
    to_half(model, dtype)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert snr_db(evaluated(model, one), wanted) > (50 if dtype == HALVES[0] else 30)


@TYPES
def test_inputs_and_outputs_keep_type_and_name(network: Network, dtype: ir.DataType) -> None:
    model = network("linear")
    to_half(model, dtype)
    (given,), (made,) = model.graph.inputs, model.graph.outputs
    assert (given.name, given.dtype) == ("images", ir.DataType.FLOAT)
    assert (made.name, made.dtype) == ("logits", ir.DataType.FLOAT)


@TYPES
def test_all_weights_are_half_and_none_is_kept_twice(network: Network, dtype: ir.DataType) -> None:
    model = network("linear")
    count = len(model.graph.initializers)
    to_half(model, dtype)
    kinds = {value.dtype for value in model.graph.initializers.values()}
    assert kinds == {dtype, ir.DataType.INT64}
    assert len(model.graph.initializers) == count


def test_the_original_of_a_copy_is_not_touched(network: Network, images: Array) -> None:
    model = network("linear")
    wanted = evaluated(model, images)
    to_half(model.clone(), ir.DataType.FLOAT16)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    np.testing.assert_array_equal(evaluated(model, images), wanted)


def test_bf16_raises_the_opset_and_fp16_does_not(network: Network) -> None:
    half, brain = network("linear"), network("linear")
    to_half(half, ir.DataType.FLOAT16)
    to_half(brain, ir.DataType.BFLOAT16)
    assert half.opset_imports[""] == 18
    assert brain.opset_imports[""] == BF16_OPSET
    assert {f.opset_imports[""] for f in brain.functions.values()} == {BF16_OPSET}


def test_normalising_and_softmax_stay_float() -> None:
    model = parsed(
        "g (float[N,3,4,4] x) => (float[N,2] p) {"
        "n = Sub(x, mean) c = Conv(n, w) f = Flatten(c) g = Gemm<transB=1>(f, v)"
        "p = Softmax<axis=-1>(g) }",
        mean=np.float32(0.45),
        w=np.ones((1, 3, 4, 4), np.float32),
        v=np.ones((2, 1), np.float32),
    )
    to_half(model, ir.DataType.FLOAT16)
    operators = [node.op_type for node in model.graph]
    assert operators == ["Sub", "Cast", "Conv", "Flatten", "Gemm", "Cast", "Softmax"]
    assert model.graph.initializers["mean"].dtype == ir.DataType.FLOAT


def test_a_value_read_inside_and_outside_is_cast_for_each() -> None:
    model = parsed(
        "g (float[N,1,4,4] x) => (float[N,1,4,4] y, float[N,1,4,4] c) {"
        "c = Conv(x, w) d = Conv(c, w) y = Relu(d) }",
        w=np.ones((1, 1, 1, 1), np.float32),
    )
    to_half(model, ir.DataType.FLOAT16)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [value.name for value in model.graph.outputs] == ["y", "c"]


def test_a_layer_with_a_weight_beyond_fp16_stays_float_and_fits_bf16() -> None:
    def model() -> ir.Model:
        return parsed(
            "g (float[N,1,4,4] x) => (float[N,1,4,4] y) { y = Conv(x, w) }",
            w=np.full((1, 1, 1, 1), 7e4, np.float32),
        )

    assert to_half(model(), ir.DataType.FLOAT16) == 0
    assert to_half(model(), ir.DataType.BFLOAT16) == 1
