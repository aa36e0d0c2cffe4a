from collections import Counter

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tresnet_deploy import passes
from tresnet_deploy.contracts import Array
from tresnet_deploy.passes import AMAX
from tresnet_deploy.precision.pairs import activation_scale, insert, quantized, weight_scales
from tresnet_deploy.precision.placement import ALL_ROLES, Placement, place

from .conftest import Network, evaluated, parsed, ranges_of, snr_db

NO_FLOOR = np.zeros(4)


def graph(weights: Array, bias: Array | None = None) -> ir.Model:
    inputs, constants = (
        ("r, w", {"w": weights}) if bias is None else ("r, w, b", {"w": weights, "b": bias})
    )
    body = f"r = Relu(x) c = Conv<pads=[1,1,1,1]>({inputs}) y = LeakyRelu<alpha=0.01>(c)"
    return parsed(f"g (float[N,2,6,6] x) => (float[N,4,6,6] y) {{ {body} }}", **constants)


def inserted(model: ir.Model, amax: float = 2.0) -> ir.Model:
    (conv,) = (node for node in model.graph if node.op_type == "Conv")
    (source,) = (value for value in conv.inputs[:1] if value is not None)
    placement = Placement(layers=(conv,), activations=(source,), excluded=frozenset())
    insert(model, placement, {"r": amax, "y": 1.0, "c": 1.0})
    return model


def constant(model: ir.Model, name: str) -> Array:
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return np.asarray(tensor.numpy())


@pytest.fixture
def weights() -> Array:
    spread = np.array([1, 1e-3, 30, 0], np.float32).reshape(4, 1, 1, 1)
    return (np.random.default_rng(0).standard_normal((4, 2, 3, 3)) * spread).astype(np.float32)


def test_weights_have_one_scale_a_channel_on_axis_0(weights: Array) -> None:
    model = inserted(graph(weights))
    scales = constant(model, "w/scale")
    assert scales.shape == (4,)
    np.testing.assert_allclose(scales[:3], np.abs(weights[:3]).max((1, 2, 3)) / 127, rtol=2**-8)
    (node,) = (n for n in model.graph if n.name == "w/DequantizeLinear")
    assert node.attributes["axis"].as_int() == 0


def test_weights_are_off_by_half_a_step_at_most_and_within_127(weights: Array) -> None:
    scales = weight_scales(weights, 0, NO_FLOOR)
    integers = quantized(weights, scales, 0)
    steps = scales.reshape(4, 1, 1, 1)
    assert np.abs(integers).max() == 127
    assert (np.abs(integers * steps - weights) <= steps * 0.5001).all()


def test_a_channel_of_zeros_has_a_scale_that_is_no_trap(weights: Array) -> None:
    assert weight_scales(weights, 0, NO_FLOOR)[3] == 1


def test_the_filter_of_the_blur_is_kept_exactly() -> None:
    line = np.array([1, 2, 1], np.float32)
    blur = np.tile(np.outer(line, line) / 16, (4, 1, 1, 1)).astype(np.float32)
    scales = weight_scales(blur, 0, NO_FLOOR)
    restored = quantized(blur, scales, 0) * scales.reshape(4, 1, 1, 1)
    np.testing.assert_array_equal(restored, blur)
    assert restored.sum() == 4, "the gain for a constant image stays 1"


def test_a_weak_channel_with_a_strong_bias_fits_an_int32_accumulator(weights: Array) -> None:
    faint = weights * np.float32(1e-9)
    model = inserted(graph(faint, np.full(4, 5, np.float32)))
    accumulated = 5 / (constant(model, "w/scale") * constant(model, "r/scale"))
    assert (accumulated <= 2**30 * 1.001).all()


def test_the_weights_of_a_product_have_one_scale_an_output(weights: Array) -> None:
    matrix = weights[:, 0, 0, :]  # (4, 3)
    body = "g (float[N,4] x) => (float[N,3] y) { r = Relu(x) y = MatMul(r, w) }"
    model = parsed(body, w=matrix)
    (product,) = (node for node in model.graph if node.op_type == "MatMul")
    source = product.inputs[0]
    assert source is not None
    insert(
        model,
        Placement(layers=(product,), activations=(source,), excluded=frozenset()),
        {"r": 1.0},
    )
    assert constant(model, "w/scale").shape == (3,)


def test_an_activation_saturates_at_its_range_and_zero_stays_zero(weights: Array) -> None:
    assert activation_scale(12.7) == pytest.approx(0.1, rel=2**-8)
    model = inserted(graph(weights), amax=12.7)
    assert constant(model, "int8_zero_point") == 0
    assert constant(model, "int8_zero_point").dtype == np.int8
    assert constant(model, "r/scale").shape == ()


def test_biases_stay_float_and_float_weights_are_dropped(weights: Array) -> None:
    model = inserted(graph(weights, np.ones(4, np.float32)))
    assert constant(model, "b").dtype == np.float32
    assert "w" not in model.graph.initializers


def test_excluded_readers_keep_the_float_value() -> None:
    text = (
        "g (float[N,2,6,6] x) => (float[N,2,6,6] y) {"
        "r = Relu(x) c = Conv(r, w) d = Conv(r, v) y = Add(c, d) }"
    )
    kernel = np.ones((2, 2, 1, 1), np.float32)
    model = parsed(text, w=kernel, v=kernel)
    first, second = (node for node in model.graph if node.op_type == "Conv")
    source = first.inputs[0]
    assert source is not None
    placement = Placement(layers=(first,), activations=(source,), excluded=frozenset({second}))
    insert(model, placement, {"r": 1.0, "c": 1.0, "d": 1.0})
    assert second.inputs[0] is source
    assert first.inputs[0] is not source


@pytest.mark.parametrize("kind", ["linear", "decoder", "frelu"])
@pytest.mark.parametrize("everything", [False, True])
def test_a_quantised_network_is_valid_and_near_the_float_one(
    network: Network, images: Array, kind: str, everything: bool
) -> None:
    amax = ranges_of(network(kind), images)
    model = network(kind)
    wanted = evaluated(model, images)
    if everything:
        passes.run(model, ("inline-operators",))
    insert(model, place(model.graph, which=ALL_ROLES if everything else ("stem", "body")), amax)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert snr_db(evaluated(model, images), wanted) > 15


def test_each_activation_has_one_pair_and_the_names_tell_whose(
    network: Network, images: Array
) -> None:
    model = network("linear")
    placement = place(model.graph)
    insert(model, placement, ranges_of(network("linear"), images))
    operators = Counter(node.op_type for node in model.graph)
    assert operators["QuantizeLinear"] == len(placement.activations)
    assert operators["DequantizeLinear"] == len(placement.activations) + len(placement.layers)
    names = [node.name for node in model.graph]
    assert len(set(names)) == len(names)
    assert "layer1.0.activation/Relu/QuantizeLinear" in names


def test_ranges_that_onnx_runtime_needs_travel_with_the_graph(
    network: Network, images: Array
) -> None:
    model = network("linear")
    amax = ranges_of(network("linear"), images)
    insert(model, place(model.graph), amax)
    (conv,) = (node for node in model.graph if node.name == "layer1.0.conv2.conv/Conv")
    stored = ir.from_proto(ir.to_proto(model))
    (again,) = (node for node in stored.graph if node.name == conv.name)
    noted = float(again.outputs[0].metadata_props[AMAX])
    assert noted == pytest.approx(amax["layer1.0.conv2.conv/Conv"])
