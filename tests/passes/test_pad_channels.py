import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import pad_channels

from .conftest import evaluated, noise, operators, parsed

WEIGHTS = {
    "a": noise(5, 3, 1, 1),
    "a_bias": noise(5, seed=1),
    "d": noise(5, 1, 3, 3, seed=2),
    "f": noise(5, 1, 3, 3, seed=3),
    "gate": noise(5, 5, 1, 1, seed=4),
    "fc": noise(4, 5, seed=5),
    "fc_t": noise(5, 4, seed=6),
    "axes": np.array([2, 3]),
    "each": noise(1, 5, 1, 1, seed=7),
    "channel": np.array([1]),
    "edges": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
}
CONV = "c = Conv (x, a, a_bias)"
HEAD = "m = ReduceMean <keepdims=0> ({}, axes) y = Gemm <transB=1> (m, fc)"


def graph(body: str) -> ir.Model:
    text = f"g (double[N,3,6,6] x) => (double[N,4] y) {{ {body} }}"
    return parsed(text, **{name: value for name, value in WEIGHTS.items() if name in body})


def widths(model: ir.Model) -> set[int]:
    shapes = [value.shape for node in model.graph for value in node.outputs]
    return {
        size
        for shape in shapes
        if shape is not None
        for size in shape[1:2]
        if isinstance(size, int)
    }


@pytest.mark.parametrize(
    "between",
    [
        "r = LeakyRelu <alpha=0.01> (c)",
        "s = Sigmoid(c) r = Mul(s, c)",
        "s = Relu(c) r = Add(s, c)",
        "s = Conv <group=5, pads=[1,1,1,1]> (c, d) r = Max(c, s)",
        "g = ReduceMean <keepdims=1> (c, axes) h = Conv(g, gate) s = Sigmoid(h) r = Mul(c, s)",
        "r = AveragePool <kernel_shape=[2,2], strides=[2,2], ceil_mode=1> (c)",
        'p = Pad <mode="reflect"> (c, edges) r = Conv <strides=[2,2], group=5> (p, f)',
    ],
)
def test_new_channels_stay_zero_through_every_layer_of_tresnet(between: str) -> None:
    model = graph(f"{CONV} {between} {HEAD.format('r')}")
    x = noise(2, 3, 6, 6)
    before = evaluated(model, x)
    outcome = pad_channels.widen(model, 8)
    assert outcome.changed >= 1
    assert {refusal.match for refusal in outcome.left} == {"x: 3", "y: 4"}  # input and output
    assert widths(model) <= {8, 4}
    np.testing.assert_allclose(evaluated(model, x), before, atol=1e-12)


def test_a_call_of_our_blur_is_widened_with_its_filter() -> None:
    model = graph(f"{CONV} r = tresnet.BlurPool2d <group=5> (c, f) {HEAD.format('r')}")
    blur = next(node for node in model.graph if node.op_type == "BlurPool2d")
    blur.outputs[0].shape = ir.Shape(["N", 5, 3, 3])
    next(n for n in model.graph if n.op_type == "ReduceMean").outputs[0].shape = ir.Shape(["N", 5])
    assert pad_channels.widen(model, 8).changed == 1
    assert blur.attributes["group"].as_int() == 8
    assert blur.inputs[1] is not None
    assert tuple(blur.inputs[1].shape or ()) == (8, 1, 3, 3)


def test_a_fully_connected_layer_may_hold_its_weights_either_way_round() -> None:
    model = graph(f"{CONV} m = ReduceMean <keepdims=0> (c, axes) y = Gemm (m, fc_t)")
    x = noise(2, 3, 6, 6)
    before = evaluated(model, x)
    assert pad_channels.widen(model, 8).changed == 1
    np.testing.assert_allclose(evaluated(model, x), before, atol=1e-12)


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        ("r = Softmax <axis=1> (c)", "Softmax"),  # zero becomes a share of the whole
        ("r = Exp(c)", "Exp"),
        ("r = Add(c, each)", "Add"),  # a constant for each channel
        ("r = Transpose <perm=[0,1,3,2]> (c)", "Transpose"),
        ("r = ReduceMean <keepdims=1> (c, channel)", "ReduceMean"),
    ],
)
def test_channels_that_another_operator_mixes_keep_their_width(between: str, reason: str) -> None:
    model = graph(f"{CONV} {between} {HEAD.format('r')}")
    before = operators(model), widths(model)
    outcome = pad_channels.widen(model, 8)
    assert outcome.changed == 0
    assert any(reason in refusal.reason for refusal in outcome.left)
    assert (operators(model), widths(model)) == before


def test_outputs_keep_their_width() -> None:
    text = "g (double[N,8,6,6] x) => (double[N,5,6,6] y) { y = Conv (x, w) }"
    (refusal,) = pad_channels.widen(parsed(text, w=noise(5, 8, 1, 1)), 8).left
    assert refusal.match == "y: 5"
    assert "input or output of the graph" in refusal.reason


def test_padding_pays_where_the_cpu_multiplies_int8_tiles() -> None:
    assert pad_channels.pays_on(("AVX-512", "AMX int8"))[0] is True
    assert pad_channels.pays_on(("AVX-512", "AVX-512 VNNI"))[0] is False


def test_widths_that_fit_are_no_match() -> None:
    text = "g (double[N,8,6,6] x) => (double[N,8,6,6] y) { c = Conv (x, w) y = Conv (c, w) }"
    outcome = pad_channels.widen(parsed(text, w=noise(8, 8, 1, 1)), 8)
    assert (outcome.changed, outcome.left) == (0, ())
