"""Typing a graph in FP16 or bf16: this file is about which values become half and which stay FP32.

before:  images -> normalise, SpaceToDepth -> stem ... head -> softmax -> probabilities     all FP32
after:   images -> normalise, SpaceToDepth -> Cast -> stem ... head -> Cast -> softmax -> ...
                          FP32                          half                    FP32

Inputs and outputs keep their type. So does what lies before the first layer with weights (a mean in
half precision would be off by 0.05 %) and after the last one, and in FP16 what an activation that
may overflow passes through (see ``islands``).

In a graph with Q/DQ pairs the scales get the type of what they scale, as ONNX and TensorRT want:

    images -> Q(FP32 scale) -> DQ(half scale) -> Conv(DQ(int8, half scale), half bias) -> Q(half)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from tresnet_deploy.precision.grids import grid_of
from tresnet_deploy.precision.islands import wide_nodes
from tresnet_deploy.precision.layers import between, weighted

BF16_OPSET: Final = 22  # the first in which Conv and the pools take bfloat16
FP16_PAIRS_OPSET: Final = 19  # the first in which Q/DQ take float16 scales

_PAIRS: Final = ("QuantizeLinear", "DequantizeLinear")
_SCALE: Final = 1  # which input of both it is
# The smallest positive number: IEEE 754's binary16, and bfloat16 as a truncated binary32.
_LEAST: Final = {ir.DataType.FLOAT16: 2.0**-24, ir.DataType.BFLOAT16: 2.0**-133}
_SUFFIXES: Final = {ir.DataType.FLOAT16: "fp16", ir.DataType.BFLOAT16: "bf16"}


def to_half(model: ir.Model, dtype: ir.DataType) -> int:
    """Type the layers of ``model`` as ``dtype`` (FLOAT16 or BFLOAT16) in place; return how many.

    Pairs of QuantizeLinear and DequantizeLinear keep their integers. In FP16, nodes beside a value
    that ``islands.mark`` has marked, or a weight that FP16 cannot hold, stay FP32.
    """
    graph = model.graph
    layers = weighted(graph)
    wide = wide_nodes(graph) if dtype == ir.DataType.FLOAT16 else {}
    inside = between(graph, layers, without=wide)
    _raise_opset(model, dtype)
    made: dict[ir.Value, ir.Value] = {}
    for node in inside:
        _retype(graph, node, dtype, made)
    for node in inside:
        for value in node.outputs:
            if value.dtype == dtype:
                _give_back(graph, value, dtype, inside)
    common_passes.RemoveUnusedNodesPass()(model)
    return sum(node in inside for node in layers)


def _retype(
    graph: ir.Graph, node: ir.Node, dtype: ir.DataType, made: dict[ir.Value, ir.Value]
) -> None:
    """Let ``node`` read and write ``dtype`` where it read and wrote FP32."""
    for index, value in enumerate(node.inputs):
        if value is None or value.dtype != ir.DataType.FLOAT:
            continue
        half = _as_half(graph, value, dtype, made)
        node.replace_input_with(index, half)
        if node.op_type == "DequantizeLinear":
            _keep_weights(graph, node, value, half)
    for value in node.outputs:
        if value.dtype == ir.DataType.FLOAT:
            value.type = ir.TensorType(dtype)  # a new one: copies of a graph share theirs
    to = node.attributes.get("to")
    if node.op_type == "Cast" and to is not None and to.as_int() == ir.DataType.FLOAT:
        node.attributes["to"] = ir.AttrInt64("to", dtype)
    constant = node.attributes.get("value")
    if node.op_type == "Constant" and constant is not None:
        tensor = constant.as_tensor()
        if tensor.dtype == ir.DataType.FLOAT:
            typed = _half_tensor(tensor, dtype, node.outputs[0].name)
            node.attributes["value"] = ir.AttrTensor("value", typed)


def _as_half(
    graph: ir.Graph, value: ir.Value, dtype: ir.DataType, made: dict[ir.Value, ir.Value]
) -> ir.Value:
    """Return ``value`` as ``dtype``: a converted constant, or the output of one Cast."""
    if value in made:
        return made[value]
    name = f"{value.name}/{_SUFFIXES[dtype]}"
    if value.const_value is not None and value.is_initializer():
        scales = any(use.idx == _SCALE and use.node.op_type in _PAIRS for use in value.uses())
        tensor = _half_tensor(value.const_value, dtype, name, positive=scales)
        half = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype), const_value=tensor)
        graph.register_initializer(half)
    else:
        cast = ir.node("Cast", [value], attributes={"to": dtype}, name=f"{name}/Cast")
        half = cast.outputs[0]
        half.name, half.shape, half.type = name, value.shape, ir.TensorType(dtype)
        producer = value.producer()
        if producer is None:
            graph.insert_before(graph[0], cast)
        else:
            graph.insert_after(producer, cast)
    made[value] = half
    return half


def _half_tensor(
    tensor: ir.TensorProtocol, dtype: ir.DataType, name: str | None, *, positive: bool = False
) -> ir.TensorProtocol:
    """Return ``tensor`` as ``dtype``; ``positive`` numbers never become 0."""
    array = np.asarray(tensor.numpy())
    if positive:
        array = np.maximum(array, np.asarray(_LEAST[dtype], array.dtype))
    return ir.Tensor(array.astype(dtype.numpy()), dtype=dtype, name=name)


def _keep_weights(graph: ir.Graph, node: ir.Node, scale: ir.Value, half: ir.Value) -> None:
    """Let constants that ``node`` dequantises mean what they meant, if their scale has changed.

    Scales made by ``pairs`` are exact in both half types, down to 2 ** -17 in FP16: below, its
    steps are too coarse, and a channel of weights that small is rounded once more.
    """
    steps = node.inputs[0]
    if steps is None or not steps.is_initializer() or steps.const_value is None:
        return
    assert half.dtype is not None
    given, made = _float64(scale), _float64(half)
    if np.array_equal(given, made):
        return
    array = _float64(steps)
    if made.ndim:
        shape = [1] * array.ndim
        shape[node.attributes.get_int("axis", 1)] = -1
        given, made = given.reshape(shape), made.reshape(shape)
    grid = grid_of(steps)
    tensor = ir.Tensor(
        grid.rounded(array * given / made),
        dtype=grid.dtype,
        name=f"{steps.name}/{_SUFFIXES[half.dtype]}",
    )
    value = ir.Value(name=tensor.name, shape=steps.shape, type=steps.type, const_value=tensor)
    graph.register_initializer(value)
    node.replace_input_with(0, value)


def _float64(constant: ir.Value) -> npt.NDArray[np.float64]:
    assert constant.const_value is not None
    return np.asarray(constant.const_value.numpy()).astype(np.float64)


def _give_back(
    graph: ir.Graph, value: ir.Value, dtype: ir.DataType, inside: dict[ir.Node, None]
) -> None:
    """Let readers outside, and the graph's outputs, have FP32 under the old name."""
    outside = [use for use in value.uses() if use.node not in inside]
    if not outside and not value.is_graph_output():
        return
    name = value.name
    value.name = f"{name}/{_SUFFIXES[dtype]}"
    cast = ir.node("Cast", [value], attributes={"to": ir.DataType.FLOAT}, name=f"{name}/Cast")
    wide = cast.outputs[0]
    wide.name, wide.shape, wide.type = name, value.shape, ir.TensorType(ir.DataType.FLOAT)
    producer = value.producer()
    assert producer is not None
    graph.insert_after(producer, cast)
    for use in outside:
        use.node.replace_input_with(use.idx, wide)
    for index, output in enumerate(graph.outputs):
        if output is value:
            graph.outputs[index] = wide


def _raise_opset(model: ir.Model, dtype: ir.DataType) -> None:
    """Declare the opset that has ``dtype``; from 18 on, a TResNet's operators keep their meaning.

    Of those, Reshape, Transpose, Cast, Pad and the constants only gained types, AveragePool gained
    dilations, and Q/DQ gained types and attributes whose defaults are as before.
    """
    paired = any(node.op_type in _PAIRS for node in model.graph)
    if dtype == ir.DataType.FLOAT16 and not paired:
        return
    least = BF16_OPSET if dtype == ir.DataType.BFLOAT16 else FP16_PAIRS_OPSET
    for imports in (model.opset_imports, *(f.opset_imports for f in model.functions.values())):
        imports[""] = max(imports[""], least)
