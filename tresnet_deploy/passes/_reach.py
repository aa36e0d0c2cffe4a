"""How far each channel of an activation reaches, estimated from the weights alone.

Inputs of the graph are taken to have deviation 1 in each channel, and channels to be independent:
a convolution then gives sqrt(sum of (w * r)^2) + |b|. The estimate scales as the tensor does, which
is all that equalisation asks of it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array
from tresnet_deploy.passes import _graph
from tresnet_deploy.passes._channels import is_dense, is_depthwise, width_of
from tresnet_deploy.passes._scaling import gated


def estimated(graph: ir.Graph) -> dict[str, Array]:
    """Return the reach (C,) of every tensor with a known number of channels."""
    reach: dict[str, Array] = {}
    for node in graph:
        for value in node.outputs:
            width = width_of(value)
            if width is not None and value.name is not None:
                reach[value.name] = np.asarray(_of(node, width, reach), np.float64)
    return reach


def _of(node: ir.Node, width: int, reach: dict[str, Array]) -> Array:
    if is_dense(node):
        return _after_layer(node, reach, width)
    data = gated(node)
    values = node.inputs if data is None else (data,)
    read = [reach[v.name] for v in values if v is not None and v.name in reach]
    read = [array for array in read if len(array) == width]
    if not read:
        return np.ones(width)
    if node.op_type == "Add":
        return np.asarray(np.sum(read, axis=0))
    largest = np.asarray(np.max(read, axis=0))
    if is_depthwise(node):
        weight = _graph.constant(node.inputs[1])
        assert weight is not None
        return np.asarray(largest * np.abs(weight).reshape(width, -1).sum(axis=1) + _bias(node))
    return largest


def _after_layer(node: ir.Node, reach: dict[str, Array], width: int) -> Array:
    weight = _graph.constant(node.inputs[1])
    if weight is None:
        return np.ones(width)
    squares = np.square(weight.astype(np.float64))
    squares = squares.reshape(*weight.shape[:2], -1).sum(axis=2)
    first = node.op_type == "Conv" or bool(_graph.integer(node, "transB", 0))
    rows = squares if first else squares.T  # (out, in)
    source = node.inputs[0]
    name = None if source is None else source.name
    read = reach.get(name or "")
    if read is None or len(read) != rows.shape[1]:
        read = np.ones(rows.shape[1])
    return np.asarray(np.sqrt(rows @ np.square(read)) + _bias(node))


def _bias(node: ir.Node) -> Array | float:
    index = len(("x", "weight"))
    bias = _graph.constant(node.inputs[index]) if len(node.inputs) > index else None
    return 0.0 if bias is None else np.abs(bias.astype(np.float64)).reshape(-1)
