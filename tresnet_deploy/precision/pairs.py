"""Inserting Q/DQ: this file is about the numbers in the pairs.

before:  x -> Conv(W, b) -> y
after:   x -> Q(s, 0) -> DQ(s, 0) -> Conv(DQ(Wq, sw), b) -> y       (QuantizeLinear and its inverse)

Symmetric with zero point 0, as TensorRT takes it: ``s = amax / 127`` (FP8: 448) for each activation
and for weights one scale for each output channel. Biases stay float: TensorRT refuses quantised
ones.

Scales are rounded to what bfloat16 holds, which costs nothing: a graph whose remainder is typed in
FP16 or bf16 then has the very same integers as the one whose accuracy was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tresnet_deploy.contracts import Array
from tresnet_deploy.passes import AMAX
from tresnet_deploy.precision.grids import INT8, Grid
from tresnet_deploy.precision.layers import data_input, same_range, weight
from tresnet_deploy.precision.placement import Placement, results
from tresnet_deploy.precision.weight_ranges import WeightRange, least_error

# An engine that adds the bias in its int32 accumulator must be able to hold it there, with one bit
# to spare. Without this floor a channel whose gamma is nearly 0 overflows it.
_ACCUMULATOR_MAX: Final = 2.0**30
_BF16_STEPS: Final = 2**8

Scales = npt.NDArray[np.float32]


def insert(
    model: ir.Model,
    placement: Placement,
    amax: Mapping[str, float],
    *,
    grid: Grid = INT8,
    weights: WeightRange = "max",
) -> None:
    """Insert all pairs of ``placement`` in place; ``amax`` is by the name of the tensor.

    Results of quantised convolutions after which no pair stands get their range noted in the
    metadata of the value, for engines that need it.
    """
    graph = model.graph
    for imports in (model.opset_imports, *(f.opset_imports for f in model.functions.values())):
        imports[""] = max(imports[""], grid.opset)
    scales = {
        value: activation_scale(amax[_source(value)], grid) for value in placement.activations
    }
    for node, value in results(graph):
        if node in placement.layers and value not in scales and amax[_source(value)] > 0:
            value.metadata_props[AMAX] = str(amax[_source(value)])
    for layer in placement.layers:
        _quantize_weight(graph, layer, float(scales[data_input(layer)]), grid, weights)
    for value, scale in scales.items():
        _insert_pair(graph, value, scale, placement.excluded, grid)


def activation_scale(amax: float, grid: Grid = INT8) -> np.float32:
    """Return the step of an activation that saturates at ``amax``."""
    assert amax > 0, amax
    return np.float32(_short(np.asarray(amax / grid.limit)))


def weight_scales(
    array: Array, axis: int, floors: Array, grid: Grid = INT8, *, weights: WeightRange = "max"
) -> Scales:
    """Return the step of each output channel of ``array``, at least ``floors``.

    A channel whose values are all multiples of one power of two is kept exactly: the blur's
    [1, 2, 1] filter would otherwise gain 0.6 % at each blur.
    """
    rows = np.moveaxis(array.astype(np.float64), axis, 0).reshape(array.shape[axis], -1)
    amax = np.abs(rows).max(axis=1)
    scales = np.maximum(amax / grid.limit, floors)
    scales[scales == 0] = 1.0  # a channel of zeros without bias: any step will do
    power = np.exp2(np.ceil(np.log2(scales)))
    exact = grid.holds(rows / power[:, None]).all(axis=1)
    if weights == "mse":
        scales = np.maximum(least_error(rows, scales, grid), floors)
    return np.asarray(np.where(exact, power, _short(scales)), np.float32)


def quantized(array: Array, scales: Scales, axis: int, grid: Grid = INT8) -> Array:
    """Return ``array`` in steps of ``scales``: the nearest numbers of ``grid``."""
    shape = [1] * array.ndim
    shape[axis] = -1
    return grid.rounded(array.astype(np.float64) / scales.reshape(shape))


def _short(scales: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return ``scales`` with bfloat16's 8 significant bits: within 0.4 %, so +-127 stays +-127."""
    mantissa, exponent = np.frexp(scales)
    return np.asarray(np.ldexp(np.rint(mantissa * _BF16_STEPS), exponent) / _BF16_STEPS)


def channel_axis(layer: ir.Node) -> int:
    """Return the axis of a layer's weights that counts its outputs."""
    transposed = layer.op_type == "Conv" or layer.attributes.get_int("transB", 0) == 1
    return 0 if transposed else 1


def _quantize_weight(
    graph: ir.Graph, layer: ir.Node, input_scale: float, grid: Grid, weights: WeightRange
) -> None:
    value, axis = weight(layer), channel_axis(layer)
    name = value.name
    assert name is not None
    assert value.const_value is not None
    array = value.const_value.numpy()
    floors = np.zeros(array.shape[axis])
    if grid.accumulates:
        floors = _bias(layer, array.shape[axis]) / (input_scale * _ACCUMULATOR_MAX)
    scales = weight_scales(array, axis, floors, grid, weights=weights)
    integers = _initializer(graph, f"{name}/{grid.name}", quantized(array, scales, axis, grid))
    steps = _initializer(graph, f"{name}/scale", scales)
    node = ir.node(
        "DequantizeLinear",
        [integers, steps],
        attributes={"axis": axis},
        name=f"{name}/DequantizeLinear",
    )
    _describe(node, f"{name}/dequantized", value, ir.DataType.FLOAT)
    graph.insert_before(layer, node)
    layer.replace_input_with(1, node.outputs[0])
    if not value.uses() and not value.is_graph_output():
        del graph.initializers[name]


def _bias(layer: ir.Node, channels: int) -> npt.NDArray[np.float64]:
    bias = layer.inputs[2] if len(layer.inputs) > 2 else None  # noqa: PLR2004  (x, weight, bias)
    if bias is None or bias.const_value is None:
        return np.zeros(channels)
    return np.abs(np.broadcast_to(bias.const_value.numpy(), (channels,)).astype(np.float64))


def _insert_pair(
    graph: ir.Graph, value: ir.Value, scale: np.float32, excluded: frozenset[ir.Node], grid: Grid
) -> None:
    readers = [use for use in value.uses() if use.node not in excluded]
    step = _initializer(graph, f"{value.name}/scale", np.asarray(scale))
    zero_point = f"{grid.name}_zero_point"
    zero = graph.initializers.get(zero_point) or _initializer(
        graph, zero_point, np.zeros((), grid.dtype.numpy())
    )
    quantize = ir.node("QuantizeLinear", [value, step, zero], name=f"{value.name}/QuantizeLinear")
    _describe(quantize, f"{value.name}/quantized", value, grid.dtype)
    dequantize = ir.node(
        "DequantizeLinear",
        [quantize.outputs[0], step, zero],
        name=f"{value.name}/DequantizeLinear",
    )
    _describe(dequantize, f"{value.name}/dequantized", value, ir.DataType.FLOAT)
    producer = value.producer()
    if producer is None:
        graph.insert_before(graph[0], (quantize, dequantize))
    else:
        graph.insert_after(producer, (quantize, dequantize))
    for use in readers:
        use.node.replace_input_with(use.idx, dequantize.outputs[0])


def _describe(node: ir.Node, name: str, like: ir.Value, dtype: ir.DataType) -> None:
    output = node.outputs[0]
    output.name, output.shape, output.type = name, like.shape, ir.TensorType(dtype)


def _initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(value)
    return value


def _source(value: ir.Value) -> str:
    name = same_range(value).name
    assert name is not None
    return name
