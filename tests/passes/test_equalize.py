"""Equalisation changes no output, not by a bit, and levels what it can."""

import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import equalize
from tresnet_deploy.passes._scaling import scale_groups

from .conftest import Arrays, copied, evaluated, noise, parsed

CHANNELS = 5
UNEVEN = np.exp2([6.0, -5.0, 0.0, 3.0, -2.0])
WEIGHTS = {
    "a": noise(5, 3, 3, 3) * UNEVEN.reshape(5, 1, 1, 1),
    "a_bias": noise(5, seed=1) * UNEVEN,
    "b": noise(4, 5, 1, 1, seed=2) / UNEVEN.reshape(1, 5, 1, 1),
    "b_bias": noise(4, seed=3),
    "small": noise(5, 5, 1, 1, seed=11) / 64,
    "d": noise(5, 1, 3, 3, seed=4),
    "d_bias": noise(5, seed=5),
    "f": noise(5, 1, 3, 3, seed=6),
    "se1": noise(2, 5, 1, 1, seed=7) / UNEVEN.reshape(1, 5, 1, 1),
    "se2": noise(5, 2, 1, 1, seed=8),
    "same": noise(5, 5, 1, 1, seed=9) * UNEVEN.reshape(5, 1, 1, 1) / UNEVEN.reshape(1, 5, 1, 1),
    "axes": np.array([2, 3]),
    "channel": np.array([1]),
    "each": noise(1, 5, 1, 1, seed=10),
    "edges": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "one": np.array(1.0),
    "low": np.array(0.0),
    "high": np.array(6.0),
    "shape": np.array([0, 5, -1, 3]),
    "merged": np.array([-1, 4, 6, 6]),
}
BEFORE = "c = Conv <pads=[1,1,1,1]> (x, a, a_bias)"
AFTER = "y = Conv ({}, b, b_bias)"
EXACT = {
    "leaky relu": "r = LeakyRelu <alpha=0.01> (c)",
    "a steep leaky relu": "r = LeakyRelu <alpha=3.0> (c)",
    "a leaky relu that mirrors": "r = LeakyRelu <alpha=-0.5> (c)",
    "relu": "r = Relu (c)",
    "average pool": "r = AveragePool <kernel_shape=[2,2], strides=[2,2], ceil_mode=1> (c)",
    "max pool": "r = MaxPool <kernel_shape=[2,2], strides=[2,2]> (c)",
    "blur": 'p = Pad <mode="reflect"> (c, edges) r = Conv <strides=[2,2], group=5> (p, f)',
    "frelu": "s = Conv <group=5, pads=[1,1,1,1]> (c, d, d_bias) r = Max (c, s)",
    "zeros at the edges": "r = Pad (c, edges)",
    "squeeze and excite": (
        "l = LeakyRelu <alpha=0.001> (c) g = ReduceMean <keepdims=1> (l, axes) "
        "h = Conv (g, se1) i = Relu (h) j = Conv (i, se2) s = Sigmoid (j) r = Mul (l, s)"
    ),
    "residual addition": "l = LeakyRelu (c) k = Conv (l, same) m = Add (k, c) r = Relu (m)",
}


def graph(body: str) -> ir.Model:
    text = f"g (double[N,3,6,6] x) => (double[N,4,P,Q] y) {{ {body} }}"
    words = set(body.replace("(", " ").replace(")", " ").replace(",", " ").split())
    return parsed(text, **{name: value for name, value in WEIGHTS.items() if name in words})


def evenness(model: ir.Model, x: Arrays) -> float:
    """The least over the largest reach of a channel, in what the last convolution reads."""
    copy = copied(model)
    last = [node for node in copy.graph if node.op_type == "Conv"][-1]
    assert last.inputs[0] is not None
    copy.graph.outputs[0] = last.inputs[0]
    reach = np.abs(evaluated(copy, x)).max(axis=(0, 2, 3))
    return float(reach.min() / reach.max())


@pytest.mark.parametrize("between", EXACT.values(), ids=EXACT.keys())
def test_channels_are_levelled_through_every_layer_of_tresnet_and_no_bit_changes(
    between: str,
) -> None:
    model = graph(f"{BEFORE} {between} {AFTER.format('r')}")
    x = noise(2, 3, 6, 6)
    before, uneven = evaluated(model, x), evenness(model, x)
    outcome = equalize.apply(model)
    assert outcome.changed == 1
    np.testing.assert_array_equal(evaluated(model, x), before)
    assert evenness(model, x) > 8 * uneven


@pytest.mark.parametrize("seed", range(8))
def test_chains_of_layers_drawn_at_random_keep_every_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = (
        "{o} = Relu ({i})",
        "{o} = LeakyRelu <alpha=0.001> ({i})",
        "{o} = AveragePool <kernel_shape=[3,3], pads=[1,1,1,1]> ({i})",
        "{o}a = Conv ({i}, w{n}, v{n}) {o} = Add ({o}a, {i})",
        "{o}a = Conv ({i}, w{n}, v{n}) {o}b = LeakyRelu ({o}a) {o} = Conv ({o}b, u{n})",
        "{o}a = ReduceMean <keepdims=1> ({i}, axes) {o}b = Conv ({o}a, w{n}) "
        "{o}c = Sigmoid ({o}b) {o} = Mul ({i}, {o}c)",
    )
    chosen = rng.choice(steps, size=9)
    lines = [step.format(i=f"t{n}", o=f"t{n + 1}", n=n) for n, step in enumerate(chosen)]
    body = f"t0 = Conv (x, first) {' '.join(lines)} y = Conv (t{len(lines)}, last)"
    weights = {"first": rng.normal(size=(5, 3, 1, 1)), "last": rng.normal(size=(4, 5, 1, 1))}
    for n in range(len(lines)):
        spread = np.exp2(rng.uniform(-6, 6, size=(5, 1, 1, 1)))
        weights[f"w{n}"] = rng.normal(size=(5, 5, 1, 1)) * spread / 64
        weights[f"u{n}"] = rng.normal(size=(5, 5, 1, 1)) / 4
        weights[f"v{n}"] = rng.normal(size=5)
    used = {name: array for name, array in weights.items() if f"{name}" in body.replace(",", " ,")}
    model = parsed(
        f"g (double[N,3,6,6] x) => (double[N,4,6,6] y) {{ {body} }}", axes=[2, 3], **used
    )
    x = noise(2, 3, 6, 6)
    before = evaluated(model, x)
    equalize.apply(model)
    np.testing.assert_array_equal(evaluated(model, x), before)


def test_a_factor_is_always_positive() -> None:
    # With a negative one LeakyRelu would cut the other side off.
    model = graph(f"{BEFORE} r = LeakyRelu (c) {AFTER.format('r')}")
    before = {name: value.const_value.numpy().copy() for name, value in constants(model)}
    equalize.apply(model)
    for name, value in constants(model):
        ratio = value.const_value.numpy() / before[name]
        assert (ratio > 0).all(), name
        np.testing.assert_array_equal(np.log2(ratio), np.rint(np.log2(ratio)))


def constants(model: ir.Model) -> list[tuple[str, ir.Value]]:
    return [
        (name, value)
        for name, value in model.graph.initializers.items()
        if value.const_value is not None and value.dtype == ir.DataType.DOUBLE
    ]


@pytest.mark.parametrize(
    ("between", "reason"),
    [
        ("r = Sigmoid (c)", "Sigmoid"),
        ("r = Softmax <axis=1> (c)", "Softmax"),
        ("r = Clip (c, low, high)", "Clip"),  # ReLU6 stops at 6, whatever the scale
        ("r = Add (c, each)", "Add"),
        ("r = Mul (c, each)", "Mul"),
        ("r = Pad (c, edges, one)", "Pad"),
        ("s = Sigmoid (c) r = Mul (s, c)", "Sigmoid"),
        ("r = Transpose <perm=[0,1,3,2]> (c)", "Transpose"),
        ("m = ReduceMean <keepdims=1> (c, channel) r = Sub (c, m)", "ReduceMean"),
        ("n = Neg (c) r = Max (c, n)", "Neg"),
    ],
)
def test_operators_that_do_not_scale_with_their_input_are_named(between: str, reason: str) -> None:
    model = graph(f"{BEFORE} {between} {AFTER.format('r')}")
    x = noise(2, 3, 6, 6)
    before = evaluated(model, x)
    outcome = equalize.apply(model)
    assert outcome.changed == 0
    refusal, _output = outcome.left
    assert reason in refusal.reason
    np.testing.assert_array_equal(evaluated(model, x), before)


def test_what_is_an_output_of_the_graph_keeps_its_scale() -> None:
    text = "g (double[N,3,6,6] x) => (double[N,4,P,Q] y, double[N,5,6,6] r)"
    body = f"{BEFORE} r = LeakyRelu (c) {AFTER.format('r')}"
    model = parsed(
        f"{text} {{ {body} }}", **{n: WEIGHTS[n] for n in ("a", "a_bias", "b", "b_bias")}
    )
    for refusal in equalize.apply(model).left:
        assert "input or output" in refusal.reason


def test_a_weight_with_another_reader_is_not_changed_for_it() -> None:
    model = graph(
        f"{BEFORE} r = LeakyRelu (c) s = Conv (r, small) t = Sigmoid (s) u = Conv (t, small) "
        f"v = Sigmoid (u) {AFTER.format('v')}"
    )
    x = noise(2, 3, 6, 6)
    before = evaluated(model, x)
    assert equalize.apply(model).changed == 1
    np.testing.assert_array_equal(evaluated(model, x), before)


def test_dead_channels_and_channels_that_nobody_reads_are_left() -> None:
    model = graph(f"{BEFORE} r = LeakyRelu (c) {AFTER.format('r')}")
    for name, axis, channel in (("a", 0, 1), ("a_bias", 0, 1), ("b", 1, 2)):
        value = model.graph.initializers[name]
        assert value.const_value is not None
        array = value.const_value.numpy().copy()
        np.moveaxis(array, axis, 0)[channel] = 0
        value.const_value = ir.tensor(array, name=name)
    x = noise(2, 3, 6, 6)
    before = evaluated(model, x)
    assert equalize.apply(model).changed == 1
    np.testing.assert_array_equal(evaluated(model, x), before)


def test_measured_reaches_decide_where_they_are_given() -> None:
    model = graph(f"{BEFORE} r = LeakyRelu (c) {AFTER.format('r')}")
    assert equalize.watched(model) == ("r",)
    wide = np.array([1.0, 1.0, 4096.0, 1.0, 1.0])
    weights = model.graph.initializers["b"]
    assert weights.const_value is not None
    weights.const_value = ir.tensor(np.ones((4, 5, 1, 1)), name="b")
    before = model.graph.initializers["a"].const_value
    assert before is not None
    equalize.equalize(model, {"r": wide})
    after = model.graph.initializers["a"].const_value
    assert after is not None
    ratio = (after.numpy() / before.numpy())[:, 0, 0, 0]
    np.testing.assert_array_equal(ratio, [64, 64, 1, 64, 64])  # the largest stays the largest


def test_weights_that_would_leave_their_range_keep_their_group() -> None:
    model = graph(f"{BEFORE} r = LeakyRelu (c) {AFTER.format('r')}")
    value = model.graph.initializers["b"]
    assert value.const_value is not None
    tiny = value.const_value.numpy() * np.finfo(np.float64).tiny
    value.const_value = ir.tensor(tiny, name="b")
    _output, refusal, *_ = equalize.apply(model).left
    assert "out of range" in refusal.reason


def test_in_a_network_only_its_ends_and_its_gates_are_pinned(network: ir.Model) -> None:
    pins = [group.pin for group in scale_groups(copied(network).graph) if group.pin]
    assert 0 < len(pins) < len(scale_groups(copied(network).graph))
    for pin in pins:
        assert any(name in pin for name in ("Sigmoid", "input or output", "head")), pin


def test_weights_that_are_no_numbers_change_nothing_by_themselves() -> None:
    model = graph(f"{BEFORE} r = LeakyRelu (c) {AFTER.format('r')}")
    value = model.graph.initializers["a"]
    assert value.const_value is not None
    broken = value.const_value.numpy().copy()
    broken[1] = np.nan
    value.const_value = ir.tensor(broken, name="a")
    equalize.apply(model)
    after = model.graph.initializers["a"].const_value
    assert after is not None
    np.testing.assert_array_equal(np.isnan(after.numpy()), np.isnan(broken))
