"""Which tensors may be scaled channel by channel without changing what the graph computes.

A *group* is a set of tensors that have to share one positive factor a channel: they are joined by
operators f with f(s x) = s f(x) for s > 0 that keep channels apart. Writers are the dense layers
whose outputs lie in it and readers those whose inputs do; multiplying the rows of the one and
dividing the columns of the other by the same factors is exact. A group with a pin must stay as it
is.

    joined:  LeakyRelu, Relu, Max, Add of two tensors, pools, spatial means, Pad, depthwise and blur
    x * gate, where Sigmoid makes the gate: x and the product are joined, the gate is pinned
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from tresnet_deploy.passes import _graph
from tresnet_deploy.passes._channels import (
    Groups,
    has_constant_weights,
    is_dense,
    is_depthwise,
    spares_channels,
    width_of,
)

_HOMOGENEOUS: Final = frozenset(("Add", "Identity", "LeakyRelu", "Max", "Relu"))
_POOLING: Final = frozenset(("AveragePool", "GlobalAveragePool", "MaxPool"))
_RESHAPING: Final = frozenset(("Flatten", "Reshape", "Squeeze", "Unsqueeze"))
_PAD_VALUE: Final = 2  # index among the inputs of Pad
_CHANNEL_AXES: Final = 2  # images and channels


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleGroup:
    """Tensors with one factor a channel; ``filters`` are depthwise layers between them."""

    name: str
    channels: int
    writers: tuple[ir.Node, ...]
    readers: tuple[ir.Node, ...]
    filters: tuple[ir.Node, ...]
    pin: str | None


def scale_groups(graph: ir.Graph) -> tuple[ScaleGroup, ...]:
    """Return the groups that dense layers write, in the order of these layers."""
    groups = Groups()
    for value in (*graph.inputs, *graph.outputs):
        groups.pin(value, "it is an input or output of the graph")
    for node in graph:
        _visit(node, groups)
    writers: dict[ir.Value, list[ir.Node]] = {}
    readers: dict[ir.Value, list[ir.Node]] = {}
    filters: dict[ir.Value, list[ir.Node]] = {}
    for node in graph:
        if is_dense(node) and node.inputs[0] is not None:
            writers.setdefault(groups.root(node.outputs[0]), []).append(node)
            readers.setdefault(groups.root(node.inputs[0]), []).append(node)
        elif is_depthwise(node):
            filters.setdefault(groups.root(node.outputs[0]), []).append(node)
    return tuple(
        ScaleGroup(
            name=_graph.name_of(writers[root][0]),
            channels=width_of(root) or 0,
            writers=tuple(writers[root]),
            readers=tuple(readers.get(root, ())),
            filters=tuple(filters.get(root, ())),
            pin=groups.pins.get(root) or (None if width_of(root) else "its width is not known"),
        )
        for root in writers
    )


def gated(node: ir.Node) -> ir.Value | None:
    """Return what a Mul scales by the output of a Sigmoid; None for every other node."""
    if node.op_type != "Mul":
        return None
    for value, gate in (node.inputs, reversed(node.inputs)):
        if value is not None and _graph.producer(gate, "Sigmoid") is not None:
            return value if _graph.producer(value, "Sigmoid") is None else None
    return None


def _visit(node: ir.Node, groups: Groups) -> None:
    tensors = [v for v in node.inputs if v is not None and _graph.constant(v) is None]
    data = gated(node)
    if is_dense(node) and has_constant_weights(node) and len(tensors) == 1:
        groups.root(tensors[0])
        groups.root(node.outputs[0])
    elif data is not None and width_of(data) == width_of(node.outputs[0]):
        groups.tie(node.outputs[0], data)  # Sigmoid has pinned the gate
    elif _scales_with_its_input(node, tensors):
        for value in tensors:
            groups.tie(node.outputs[0], value)
    else:
        reason = f"{_graph.name_of(node)} ({node.op_type}) does not scale with it"
        for value in (*tensors, *node.outputs):
            groups.pin(value, reason)


def _scales_with_its_input(node: ir.Node, tensors: list[ir.Value]) -> bool:
    """Whether ``node`` is f with f(s x) = s f(x), on each channel by itself."""
    if not tensors or len({width_of(value) for value in (*tensors, *node.outputs)}) != 1:
        return False
    op_type = node.op_type
    return (
        op_type in _POOLING
        or (op_type in _HOMOGENEOUS and len(tensors) == len(node.inputs))
        or (op_type == "Conv" and is_depthwise(node) and has_constant_weights(node))
        or (op_type == "BlurPool2d" and has_constant_weights(node))
        or (op_type == "Pad" and spares_channels(node) and _pads_with_zeros(node))
        or (op_type == "ReduceMean" and spares_channels(node))
        or (op_type in _RESHAPING and _keeps_channels(tensors[0], node.outputs[0]))
    )


def _pads_with_zeros(node: ir.Node) -> bool:
    """Whether what ``node`` adds at the edges scales with the rest."""
    mode = node.attributes.get("mode")
    if mode is not None and mode.as_string() != "constant":
        return True
    if len(node.inputs) <= _PAD_VALUE or node.inputs[_PAD_VALUE] is None:
        return True
    value = _graph.constant(node.inputs[_PAD_VALUE])
    return value is not None and not value.any()


def _keeps_channels(before: ir.Value, after: ir.Value) -> bool:
    """Whether a reshaping leaves the first two axes as they are."""
    if before.shape is None or after.shape is None:
        return False
    return before.shape[:_CHANNEL_AXES] == after.shape[:_CHANNEL_AXES]
