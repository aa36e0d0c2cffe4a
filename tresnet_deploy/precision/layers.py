"""What each layer of a TResNet graph is for, told by how the graph is joined and never by names.

images -> SpaceToDepth -> stem -> blocks: body convolutions, blur, squeeze -> mean -> head
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from typing import Final, Literal

import onnx_ir as ir

Role = Literal["stem", "body", "squeeze", "blur", "head"]
"""``squeeze``: the two 1x1 convolutions of an SE block; ``blur``: depthwise, FReLU's included."""

BLUR_POOL: Final = "BlurPool2d"

_SPATIAL_MEANS: Final = ("ReduceMean", "GlobalAveragePool")
_MATRIX_PRODUCTS: Final = ("Gemm", "MatMul")
_KERNEL_RANK: Final = 4
_MATRIX_RANK: Final = 2
_MATRICES_RANK: Final = 3
# These move values and make none, so the range after them is the range before.
_MOVES: Final = ("Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose")


def roles(graph: ir.Graph) -> dict[ir.Node, Role]:
    """Return what each layer with weights is for, in the order of the graph."""
    depth = depths(graph)
    pooled = _pooled(graph)
    return {
        node: _role(node, depth, pooled)
        for node in graph
        if _is_convolution(node) or _is_matrix_product(node) or node.op_type == BLUR_POOL
    }


def weighted(graph: ir.Graph) -> tuple[ir.Node, ...]:
    """Return every layer with weights: those that have a role, and ML-Decoder's last product.

    That one has a matrix for each group of classes; it can be typed, and nothing quantises it.
    """
    known = roles(graph)
    return tuple(node for node in graph if node in known or _is_grouped_product(node))


def _role(node: ir.Node, depth: Mapping[ir.Value, int], pooled: set[ir.Value]) -> Role:
    source = data_input(node)
    if node.op_type in _MATRIX_PRODUCTS:
        return "head"
    if node.op_type == BLUR_POOL or node.attributes.get_int("group", 1) > 1:
        return "blur"
    if source in pooled:
        return "squeeze"
    return "body" if depth[source] else "stem"


def between(
    graph: ir.Graph, layers: Iterable[ir.Node], *, without: Container[ir.Node] = ()
) -> dict[ir.Node, None]:
    """Return the layers and the nodes on the way from one to another, in the order of the graph.

    Nodes that make constants for these alone are among them: those that dequantise weights, and
    the one that gives the first layer its dequantised images. Nodes of ``without`` are not, nor
    what makes constants for these alone.
    """
    after: set[ir.Node] = set(layers)
    for node in graph:
        if any(value is not None and value.producer() in after for value in node.inputs):
            after.add(node)
    before: set[ir.Node] = set(layers)
    for node in reversed(graph):
        if any(reader in before for value in node.outputs for reader in value.consumers()):
            before.add(node)
    way = {node for node in after & before if node not in without}
    return {
        node: None
        for node in graph
        if (_feeds(node, way, whole=node not in after) if _makes_floats(node) else node in way)
        and node not in without
    }


def _feeds(node: ir.Node, way: set[ir.Node], *, whole: bool) -> bool:
    """Whether nodes of ``way`` read ``node``: all of its readers if ``whole``, else some."""
    readers = {reader for value in node.outputs for reader in value.consumers()}
    return bool(readers) and (way.issuperset(readers) if whole else not way.isdisjoint(readers))


def _makes_floats(node: ir.Node) -> bool:
    """Whether ``node`` makes floats of integers or of nothing: dequantised values, constants."""
    computed = (v for v in node.inputs if v is not None and not v.is_initializer())
    return all(value.dtype == ir.DataType.FLOAT for value in node.outputs) and not any(
        value.dtype == ir.DataType.FLOAT for value in computed
    )


def depths(graph: ir.Graph) -> dict[ir.Value, int]:
    """Return for each value how many convolutions lie before it, on the longest path."""
    depth = dict.fromkeys((*graph.inputs, *graph.initializers.values()), 0)
    for node in graph:
        before = max((depth[value] for value in node.inputs if value is not None), default=0)
        for value in node.outputs:
            depth[value] = before + (node.op_type == "Conv")
    return depth


def residual(node: ir.Node, depth: Mapping[ir.Value, int]) -> ir.Value | None:
    """Return the skip connection's input of an addition, None for every other node.

    Of the two inputs it is the one with fewer convolutions before it. A bias is no input in this
    sense, and neither is one of two equally deep branches.
    """
    if node.op_type != "Add":
        return None
    inputs = [value for value in node.inputs if value is not None and value.producer() is not None]
    if len(inputs) != len(node.inputs) or depth[inputs[0]] == depth[inputs[1]]:
        return None
    return min(inputs, key=lambda value: depth[value])


def data_input(node: ir.Node) -> ir.Value:
    """Return the activation that a layer reads."""
    value = node.inputs[0]
    assert value is not None, node
    return value


def weight(node: ir.Node) -> ir.Value:
    """Return the constant weights of a layer."""
    value = node.inputs[1]
    assert value is not None, node
    return value


def same_range(value: ir.Value) -> ir.Value:
    """Return the earliest value that holds the same numbers, if in another order or repeated."""
    while (node := value.producer()) is not None:
        reflects = node.op_type == "Pad" and node.attributes.get_string("mode", "") == "reflect"
        if node.op_type not in _MOVES and not reflects:
            break
        value = data_input(node)
    return value


def _is_convolution(node: ir.Node) -> bool:
    return node.op_type == "Conv" and _rank_of_constant(node) == _KERNEL_RANK


def _is_matrix_product(node: ir.Node) -> bool:
    return node.op_type in _MATRIX_PRODUCTS and _rank_of_constant(node) == _MATRIX_RANK


def _is_grouped_product(node: ir.Node) -> bool:
    return node.op_type == "MatMul" and _rank_of_constant(node) == _MATRICES_RANK


def _rank_of_constant(node: ir.Node) -> int | None:
    value = node.inputs[1]
    source = None if value is None else value.producer()
    if source is not None and source.op_type == "DequantizeLinear":
        value = source.inputs[0]
    if value is None or not value.is_initializer() or value.const_value is None:
        return None
    return len(value.const_value.shape)


def _pooled(graph: ir.Graph) -> set[ir.Value]:
    """Return the values that come from a spatial mean and have one number a channel."""
    pooled: set[ir.Value] = set()
    for node in graph:
        computed = [v for v in node.inputs if v is not None and not v.is_initializer()]
        if node.op_type in _SPATIAL_MEANS or (computed and all(v in pooled for v in computed)):
            pooled.update(node.outputs)
    return pooled
