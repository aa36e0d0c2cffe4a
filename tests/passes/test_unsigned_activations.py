import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import unsigned_activations

from .conftest import evaluated, operators, parsed

STEP = 0.25
EVALUATED_OPSET = 19  # the first whose DequantizeLinear onnx's reference evaluator has
PAIR = "q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"
# Halves round to even on both grids, and both ends saturate.
VALUES = np.concatenate([np.arange(-40, 40, STEP / 2), [-1e6, 1e6]]).astype(np.float32)


def graph(body: str = PAIR, output: str = "float[N] y", zero: int = 0) -> ir.Model:
    text = f"g (float[N] x) => ({output}) {{ {body} }}"
    model = parsed(text, s=np.float32(STEP), z=np.int8(zero))
    model.opset_imports[""] = EVALUATED_OPSET
    return model


def test_activations_come_back_from_exactly_the_same_grid() -> None:
    model = graph()
    before = evaluated(model, VALUES)
    assert unsigned_activations.apply(model).changed == 1
    np.testing.assert_array_equal(evaluated(model, VALUES), before)


def test_the_integers_are_those_of_int8_moved_by_128() -> None:
    model = graph()
    unsigned_activations.apply(model)
    quantize, dequantize = model.graph
    assert quantize.outputs[0].dtype == ir.DataType.UINT8
    for node in (quantize, dequantize):
        zero_point = node.inputs[2]
        assert zero_point is not None
        assert zero_point.const_value is not None
        array = zero_point.const_value.numpy()
        assert (array, array.dtype, array.shape) == (128, np.uint8, ())


@pytest.mark.parametrize(("slope", "zero_point"), [(0.01, 1), (0.2, 26), (1.5, 128)])
def test_a_leaky_relu_moves_them_by_the_negative_steps_it_leaves(
    slope: float, zero_point: int
) -> None:
    body = f"a = LeakyRelu<alpha={slope}>(x) " + PAIR.replace("(x", "(a")
    model = graph(body)
    values = VALUES[VALUES >= -128 * STEP]
    before = evaluated(model, values)
    assert unsigned_activations.apply(model).changed == 1
    after = evaluated(model, values)
    within = before < 127 * STEP
    np.testing.assert_array_equal(after[within], before[within])
    found = model.graph[1].inputs[2]
    assert found is not None
    assert found.const_value is not None
    assert found.const_value.numpy() == zero_point


def test_all_readers_of_an_activation_are_moved_with_it() -> None:
    body = PAIR + " r = DequantizeLinear(q, s, z) t = Add(y, r)"
    model = graph(body, "float[N] t")
    before = evaluated(model, VALUES)
    assert unsigned_activations.apply(model).changed == 1
    np.testing.assert_array_equal(evaluated(model, VALUES), before)


def test_weights_stay_int8() -> None:
    model = parsed(
        "g (float[N,2] x) => (float[N,2] y) { w = DequantizeLinear(k, s, z) y = MatMul(x, w) }",
        k=np.eye(2, dtype=np.int8),
        s=np.float32(STEP),
        z=np.int8(0),
    )
    assert unsigned_activations.apply(model).changed == 0
    assert model.graph.initializers["z"].dtype == ir.DataType.INT8


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (graph(zero=3), "its zero point is not 0"),
        (graph(PAIR + " c = Cast<to=1>(q)", "float[N] y, float[N] c"), "something else"),
        (graph(PAIR, "float[N] y, int8[N] q"), "something else"),
    ],
)
def test_other_integers_are_left_with_the_reason(model: ir.Model, reason: str) -> None:
    before = operators(model)
    outcome = unsigned_activations.apply(model)
    assert outcome.changed == 0
    assert [reason in refusal.reason for refusal in outcome.left] == [True]
    assert operators(model) == before
