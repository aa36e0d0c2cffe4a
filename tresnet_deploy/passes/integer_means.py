"""Add the integers of a squeeze instead of their floats: the same mean, exactly.

before:  DQ(x; s, z) -> ReduceMean over height and width
after:   x -> Transpose, Reshape -> MatMulInteger(ones, x, 0, z) -> Reshape, Cast -> Mul(s / (H W))

For ONNX Runtime, whose ReduceMean wants floats in a layout of their own: two DequantizeLinear and a
transposition of the whole tensor less. Integer sums have no rounding at all.
Left alone: sizes that are not known.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Outcome, Refusal
from tresnet_deploy.passes import _graph, _pairs

_AXES: Final = ((2, 3), (-2, -1), (-1, -2))


def apply(model: ir.Model) -> Outcome:
    """Rewrite every ReduceMean of dequantised uint8 images, in place."""
    changed, left = 0, []
    for mean in [node for node in model.graph if _is_squeeze(node)]:
        source = _pairs.dequantized(mean.inputs[0])
        if source is None:
            continue
        size = _size(source.value)
        if size is None:
            left.append(Refusal(match=_graph.name_of(mean), reason="its size is not known"))
            continue
        _replace(mean, source, *size)
        changed += 1
    _graph.drop_unused(model)
    return Outcome(changed=changed, left=tuple(left))


def _is_squeeze(node: ir.Node) -> bool:
    if node.op_type != "ReduceMean" or not _graph.integer(node, "keepdims", 1):
        return False
    axes = _graph.constant(node.inputs[1]) if len(node.inputs) > 1 else None
    return axes is not None and tuple(axes.tolist()) in _AXES


def _size(value: ir.Value) -> tuple[int, int] | None:
    """Return channels and pixels of one image."""
    match tuple(value.shape or ()):
        case _, int(channels), int(height), int(width):
            return channels, height * width
    return None


def _replace(mean: ir.Node, source: _pairs.Dequantized, channels: int, pixels: int) -> None:
    name = _graph.name_of(mean)
    last = ir.node("Transpose", [source.integers], attributes={"perm": (0, 2, 3, 1)})
    flat = ir.node("Reshape", [last.outputs[0], None])
    total = ir.node("MatMulInteger", [None, flat.outputs[0]])
    square = ir.node("Reshape", [total.outputs[0], None])
    real = ir.node("Cast", [square.outputs[0]], attributes={"to": int(ir.DataType.FLOAT)})
    scaled = ir.node("Mul", [real.outputs[0], None])
    nodes = (last, flat, total, square, real, scaled)
    for suffix, node in zip(("last", "flat", "sum", "square", "float", "mean"), nodes, strict=True):
        node.name = node.outputs[0].name = f"{name}/{suffix}"
    output = mean.outputs[0]
    scaled.outputs[0].type, scaled.outputs[0].shape = output.type, output.shape
    graph = mean.graph
    assert graph is not None
    graph.insert_after(mean, nodes)
    for node, index, array in (
        (flat, 1, np.array([0, -1, channels], np.int64)),
        (total, 0, np.ones((1, pixels), np.uint8)),
        (total, 2, np.zeros((), np.uint8)),
        (total, 3, np.uint8(source.zero_point)),
        (square, 1, np.array([-1, channels, 1, 1], np.int64)),
        (scaled, 1, np.float32(source.scale / pixels)),
    ):
        _graph.set_constant(node, index, np.asarray(array), name=f"{node.name}/constant_{index}")
    _graph.replace_value(output, scaled.outputs[0])
