import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import clip_relu

from .conftest import evaluated, operators, parsed

STEP = 0.03
EVALUATED_OPSET = 19  # the first whose DequantizeLinear onnx's reference evaluator has
PAIR = "r = Relu(x) q = QuantizeLinear(r, s, z) y = DequantizeLinear(q, s, z)"
VALUES = np.concatenate([np.linspace(-5, 5, 4001), STEP * np.arange(-3, 140) / 2]).astype(
    np.float32
)


def graph(body: str = PAIR, output: str = "float[N] y", zero: int = 0) -> ir.Model:
    text = f"g (float[N] x) => ({output}) {{ {body} }}"
    model = parsed(text, s=np.float32(STEP), z=np.int8(zero))
    model.opset_imports[""] = EVALUATED_OPSET
    return model


def test_every_value_comes_back_from_exactly_the_same_grid() -> None:
    model = graph()
    before = evaluated(model, VALUES)
    assert before.max() == np.float32(127 * np.float32(STEP)), "the test needs saturation"
    assert clip_relu.apply(model).changed == 1
    np.testing.assert_array_equal(evaluated(model, VALUES), before)


def test_the_relu_becomes_a_clip_that_saturates_where_int8_did() -> None:
    model = graph()
    clip_relu.apply(model)
    assert operators(model) == ["Clip", "QuantizeLinear", "DequantizeLinear"]
    assert model.graph[1].outputs[0].dtype == ir.DataType.UINT8


def test_all_readers_of_the_integers_are_moved_with_them() -> None:
    model = graph(PAIR + " w = DequantizeLinear(q, s, z) t = Add(y, w)", "float[N] t")
    before = evaluated(model, VALUES)
    assert clip_relu.apply(model).changed == 1
    np.testing.assert_array_equal(evaluated(model, VALUES), before)


def test_other_pairs_that_share_the_zero_point_stay_int8() -> None:
    body = PAIR.replace("y =", "d =") + (
        " l = LeakyRelu(d) p = QuantizeLinear(l, s, z) y = DequantizeLinear(p, s, z)"
    )
    model = graph(body)
    before = evaluated(model, VALUES)
    assert clip_relu.apply(model).changed == 1
    np.testing.assert_array_equal(evaluated(model, VALUES), before)
    assert model.graph.initializers["z"].dtype == ir.DataType.INT8


def test_what_is_negative_sometimes_is_no_match() -> None:
    model = graph(PAIR.replace("Relu", "LeakyRelu"))
    outcome = clip_relu.apply(model)
    assert (outcome.changed, outcome.left) == (0, ())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (graph(PAIR + " t = Add(r, y)", "float[N] t"), "something else than the QuantizeLinear"),
        (graph(zero=3), "its zero point is not 0"),
        (graph(PAIR.replace("(q, s, z)", "(q, s)")), "a DequantizeLinear with a zero point"),
        (graph(PAIR, "float[N] y, int8[N] q"), "a DequantizeLinear with a zero point"),
    ],
)
def test_what_cannot_be_moved_exactly_is_left_alone_with_the_reason(
    model: ir.Model, reason: str
) -> None:
    outcome = clip_relu.apply(model)
    assert outcome.changed == 0
    assert reason in outcome.left[0].reason
    assert "Relu" in operators(model)
