"""Which tensors of a graph must have the same number of channels, and which may not be widened.

A *group* is a set of tensors tied together: by additions, activations, pooling, blurs. Convolutions
and fully connected layers read one group and write another. Pinned groups keep their width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import onnx_ir as ir

from tresnet_deploy.passes import _graph

# Each maps a zero channel to a finite channel, by itself, and keeps the channel axis where it is.
_ELEMENTWISE: Final = frozenset(("Add", "LeakyRelu", "Max", "Mul", "Relu", "Sigmoid"))
_POOLING: Final = frozenset(("AveragePool", "GlobalAveragePool", "MaxPool"))
_FILTERING: Final = frozenset(("BlurPool2d", "Conv"))
_SPATIAL: Final = frozenset(("Pad", "ReduceMean"))
_SPATIAL_AXES: Final = (2, 3)


@dataclass(slots=True)
class Groups:
    """The groups of a graph; a group is named by one of its tensors, its root."""

    parents: dict[ir.Value, ir.Value] = field(default_factory=dict)
    pins: dict[ir.Value, str] = field(default_factory=dict)

    def root(self, value: ir.Value) -> ir.Value:
        """Return the tensor that names the group of ``value``."""
        self.parents.setdefault(value, value)
        while self.parents[value] is not value:
            self.parents[value] = self.parents[self.parents[value]]
            value = self.parents[value]
        return value

    def tie(self, first: ir.Value, second: ir.Value) -> None:
        """Make one group of two; a pin on either holds for both."""
        kept, gone = self.root(first), self.root(second)
        if kept is gone:
            return
        self.parents[gone] = kept
        if gone in self.pins:
            self.pins.setdefault(kept, self.pins.pop(gone))

    def pin(self, value: ir.Value, reason: str) -> None:
        """Forbid to widen the group of ``value``; the first reason is kept."""
        self.pins.setdefault(self.root(value), reason)


def width_of(value: ir.Value) -> int | None:
    """Return the number of channels of ``value`` (axis 1), None where the file does not tell."""
    shape = value.shape
    size = shape[1] if shape is not None and len(shape) > 1 else None
    return size if isinstance(size, int) else None


def find_groups(graph: ir.Graph) -> Groups:
    """Return the groups of ``graph``, with everything pinned that may not be widened."""
    groups = Groups()
    for value in (*graph.inputs, *graph.outputs):
        groups.pin(value, "it is an input or output of the graph")
    for node in graph:
        _visit(node, groups)
    return groups


def is_depthwise(node: ir.Node) -> bool:
    """True for a convolution that filters each channel by itself."""
    if node.op_type != "Conv":
        return False
    group, weight = _graph.integer(node, "group", 1), node.inputs[1]
    shape = None if weight is None else weight.shape
    return group > 1 and shape is not None and shape[0] == group and shape[1] == 1


def is_dense(node: ir.Node) -> bool:
    """True for a layer that reads all channels of one group and writes another."""
    if node.op_type == "Gemm":
        return not _graph.integer(node, "transA", 0)
    return node.op_type == "Conv" and _graph.integer(node, "group", 1) == 1


def _visit(node: ir.Node, groups: Groups) -> None:
    tensors = [value for value in node.inputs if value is not None and not _is_constant(value)]
    if is_dense(node) and has_constant_weights(node) and len(tensors) == 1:
        groups.root(tensors[0])
        groups.root(node.outputs[0])
    elif _passes_channels_on(node, tensors):
        for value in tensors:
            groups.tie(node.outputs[0], value)
    else:
        for value in (*tensors, *node.outputs):
            groups.pin(value, f"{_graph.name_of(node)} reads or writes it")


def _passes_channels_on(node: ir.Node, tensors: list[ir.Value]) -> bool:
    """Whether output channel c of ``node`` depends on channel c of its inputs alone."""
    if len({width_of(value) for value in (*tensors, *node.outputs)}) != 1:
        return False
    if node.op_type in _ELEMENTWISE:
        return len(tensors) == len(node.inputs)
    if node.op_type in _FILTERING:
        return has_constant_weights(node) and (node.op_type != "Conv" or is_depthwise(node))
    if node.op_type in _SPATIAL:
        return spares_channels(node)
    return node.op_type in _POOLING


def spares_channels(node: ir.Node) -> bool:
    """Whether a ReduceMean or Pad works on height and width only."""
    argument = _graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    if argument is None:
        return False
    if node.op_type == "ReduceMean":
        return tuple(argument.tolist()) == _SPATIAL_AXES
    return not argument.reshape(2, -1)[:, : _SPATIAL_AXES[0]].any()


def has_constant_weights(node: ir.Node) -> bool:
    """Whether all inputs but the first are constants."""
    return all(_is_constant(value) for value in node.inputs[1:] if value is not None)


def _is_constant(value: ir.Value) -> bool:
    return _graph.constant(value) is not None
