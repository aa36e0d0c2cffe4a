"""Each operator says the same in NumPy, in PyTorch, and as an ONNX function."""

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch.nn import functional as F
from tresnet_deploy.plugins import DOMAIN, VERSION, blur_pool, leaky_blur_pool, space_to_depth

from tresnet.layers import BlurPool2d, SpaceToDepth
from tresnet_deploy.backends.onnxruntime import session_of
from tresnet_deploy.contracts import run
from tresnet_deploy.registry import OPERATORS

Floats = npt.NDArray[np.float32]
OPSETS = (18, 20, 23)
SIZES = ((8, 8), (12, 20), (4, 8))
ODD_SIZES = ((7, 8), (5, 5), (2, 2), (2, 9))


def noise(*shape: int) -> Floats:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def call(op_type: str, x: Floats, opset: int, *weights: Floats, **attributes: float) -> ir.Model:
    """Return a model of one call, with the operator's own function."""
    graph_input = ir.Value(
        name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["N", x.shape[1], "H", "W"])
    )
    constants = [_initializer(f"w{index}", weight) for index, weight in enumerate(weights)]
    node = ir.node(op_type, [graph_input, *constants], domain=DOMAIN, attributes=attributes)
    node.outputs[0].name = "y"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    node.outputs[0].shape = ir.Shape([None] * 4)
    graph = ir.Graph(
        [graph_input],
        node.outputs,
        nodes=[node],
        initializers=constants,
        opset_imports={"": opset, DOMAIN: VERSION},
        name="call",
    )
    (operator,) = (o for o in map(OPERATORS.load, OPERATORS.names()) if op_type == o.OP_TYPE)
    return ir.Model(graph, ir_version=10, functions=[operator.onnx_function(opset)])


def _initializer(name: str, array: Floats) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    return ir.Value(
        name=name,
        const_value=tensor,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(array.shape),
    )


def test_what_calls_the_kernels_is_no_operator() -> None:
    """Packages in the folder are not members of the family."""
    assert OPERATORS.names() == ("blur-pool", "leaky-blur-pool", "space-to-depth")


@pytest.mark.parametrize("name", OPERATORS.names())
@pytest.mark.parametrize("opset", OPSETS)
def test_an_operator_is_a_function_of_our_domain(name: str, opset: int) -> None:
    operator = OPERATORS.load(name)
    function = ir.to_proto(operator.onnx_function(opset))
    assert (function.domain, function.name) == (DOMAIN, operator.OP_TYPE)
    assert [(entry.domain, entry.version) for entry in function.opset_import] == [("", opset)]
    assert {node.domain for node in function.node} == {""}
    onnx.checker.check_function(function)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_space_to_depth_is_the_networks_own_layer_bit_for_bit(height: int, width: int) -> None:
    x = noise(2, 3, height, width)
    expected = SpaceToDepth()(torch.from_numpy(x)).numpy()
    np.testing.assert_array_equal(space_to_depth.reference(x, blocksize=4), expected)


def test_space_to_depth_orders_channels_unlike_pixel_unshuffle() -> None:
    x = noise(1, 3, 8, 8)
    other = F.pixel_unshuffle(torch.from_numpy(x), 4).numpy()
    assert not np.array_equal(space_to_depth.reference(x, blocksize=4), other)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("blocksize", [2, 4])
def test_space_to_depth_as_a_function_runs_in_every_runtime(opset: int, blocksize: int) -> None:
    x = noise(2, 3, 8, 12)
    model = call("SpaceToDepth", x, opset, blocksize=blocksize)
    expected = space_to_depth.reference(x, blocksize=blocksize)
    np.testing.assert_array_equal(_in_onnx_runtime(model, x), expected)
    np.testing.assert_array_equal(_in_reference(model, x), expected)


@pytest.mark.parametrize(("height", "width"), [*SIZES, *ODD_SIZES])
def test_blur_is_the_networks_own_layer(height: int, width: int) -> None:
    x = noise(2, 5, height, width)
    expected = BlurPool2d(5)(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(blur_pool.reference(x), expected, atol=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize(("height", "width"), [(8, 12), (7, 9)])
def test_blur_as_a_function_runs_in_every_runtime(opset: int, height: int, width: int) -> None:
    x = noise(2, 5, height, width)
    model = call("BlurPool2d", x, opset, blur_pool.binomial_filter(5), group=5)
    expected = blur_pool.reference(x)
    np.testing.assert_allclose(_in_onnx_runtime(model, x), expected, atol=1e-6)
    np.testing.assert_allclose(_in_reference(model, x), expected, atol=1e-6)


@pytest.mark.parametrize("opset", OPSETS)
def test_leaky_blur_as_a_function_runs_in_every_runtime(opset: int) -> None:
    x = noise(2, 5, 7, 8)
    model = call("LeakyBlurPool2d", x, opset, blur_pool.binomial_filter(5), alpha=0.25, group=5)
    expected = leaky_blur_pool.reference(x, alpha=0.25)
    layers = torch.nn.Sequential(torch.nn.LeakyReLU(0.25), BlurPool2d(5))
    np.testing.assert_allclose(layers(torch.from_numpy(x)).numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(_in_onnx_runtime(model, x), expected, atol=1e-6)


def test_zero_padding_would_be_another_blur() -> None:
    x = noise(1, 5, 8, 8)
    zeros = F.conv2d(
        torch.from_numpy(x), torch.from_numpy(blur_pool.binomial_filter(5)), None, 2, 1, 1, 5
    )
    assert np.abs(blur_pool.reference(x) - zeros.numpy()).max() > 0.01


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_blurs_filter_is_exact_in_every_float_type(dtype: type[np.floating]) -> None:
    values = blur_pool.binomial_filter(2, dtype).astype(np.float64) * 16
    np.testing.assert_array_equal(
        values, np.broadcast_to(np.outer([1, 2, 1], [1, 2, 1]), (2, 1, 3, 3))
    )


def _in_onnx_runtime(model: ir.Model, x: Floats) -> Floats:
    session = session_of(model)
    result: Floats = run(session, {"x": x})["y"]
    session.close()
    return result


def _in_reference(model: ir.Model, x: Floats) -> Floats:
    (result,) = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})
    return np.asarray(result)
