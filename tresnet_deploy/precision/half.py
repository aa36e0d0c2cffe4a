"""Typing a graph in FP16 or bf16: this file is about which values become half and which stay FP32.

before:  images -> normalise, SpaceToDepth -> stem ... head -> softmax -> probabilities     all FP32
after:   images -> normalise, SpaceToDepth -> Cast -> stem ... head -> Cast -> softmax -> ...
                          FP32                          half                    FP32

Inputs and outputs keep their type. So does what lies before the first layer with weights (a mean in
half precision would be off by 0.05 %) and after the last one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from tresnet_deploy.errors import QuantizeError
from tresnet_deploy.precision.layers import roles

BF16_OPSET: Final = 22  # the first in which Conv and the pools take bfloat16

_SUFFIXES: Final = {ir.DataType.FLOAT16: "fp16", ir.DataType.BFLOAT16: "bf16"}


def to_half(model: ir.Model, dtype: ir.DataType) -> int:
    """Type the layers of ``model`` as ``dtype`` (FLOAT16 or BFLOAT16) in place; return how many.

    Raises:
        QuantizeError: a weight does not fit into FP16.
    """
    if dtype == ir.DataType.BFLOAT16:
        _raise_opset(model)
    graph = model.graph
    layers = roles(graph)
    inside = _between(graph, layers)
    made: dict[ir.Value, ir.Value] = {}
    for node in inside:
        _retype(graph, node, dtype, made)
    for node in inside:
        for value in node.outputs:
            if value.dtype == dtype:
                _give_back(graph, value, dtype, inside)
    common_passes.RemoveUnusedNodesPass()(model)
    return len(layers)


def _between(graph: ir.Graph, layers: Iterable[ir.Node]) -> dict[ir.Node, None]:
    """Return the nodes on the way from one layer to another, and the layers, in order."""
    after: set[ir.Node] = set(layers)
    for node in graph:
        if any(value is not None and value.producer() in after for value in node.inputs):
            after.add(node)
    before: set[ir.Node] = set(layers)
    for node in reversed(graph):
        if any(reader in before for value in node.outputs for reader in value.consumers()):
            before.add(node)
    return dict.fromkeys(node for node in graph if node in after and node in before)


def _retype(
    graph: ir.Graph, node: ir.Node, dtype: ir.DataType, made: dict[ir.Value, ir.Value]
) -> None:
    """Let ``node`` read and write ``dtype`` where it read and wrote FP32."""
    for index, value in enumerate(node.inputs):
        if value is not None and value.dtype == ir.DataType.FLOAT:
            node.replace_input_with(index, _as_half(graph, value, dtype, made))
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
            half = _half_tensor(tensor, dtype, node.outputs[0].name)
            node.attributes["value"] = ir.AttrTensor("value", half)


def _as_half(
    graph: ir.Graph, value: ir.Value, dtype: ir.DataType, made: dict[ir.Value, ir.Value]
) -> ir.Value:
    """Return ``value`` as ``dtype``: a converted constant, or the output of one Cast."""
    if value in made:
        return made[value]
    name = f"{value.name}/{_SUFFIXES[dtype]}"
    if value.const_value is not None and value.is_initializer():
        tensor = _half_tensor(value.const_value, dtype, name)
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
    tensor: ir.TensorProtocol, dtype: ir.DataType, name: str | None
) -> ir.TensorProtocol:
    array = np.asarray(tensor.numpy())
    largest = float(np.abs(array).max(initial=0.0))
    if dtype == ir.DataType.FLOAT16 and largest > float(np.finfo(np.float16).max):
        raise QuantizeError(
            f"the weight {tensor.name} reaches {largest:.3g}, and FP16 ends at 65504",
            hints=("--precision bf16, which has the range of FP32",),
        )
    return ir.Tensor(array.astype(dtype.numpy()), dtype=dtype, name=name)


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


def _raise_opset(model: ir.Model) -> None:
    """Declare the opset that has bf16; from 18 on, all operators of a TResNet keep their meaning.

    Of those, Reshape, Transpose, Cast, Pad and the constants only gained types, AveragePool gained
    dilations.
    """
    for imports in (model.opset_imports, *(f.opset_imports for f in model.functions.values())):
        imports[""] = max(imports[""], BF16_OPSET)
