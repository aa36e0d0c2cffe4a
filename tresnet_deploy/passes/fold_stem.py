"""Merge SpaceToDepth and the stem's convolution into one large-stride convolution.

before:  x -> SpaceToDepth {blocksize b} -> Conv(W: o, b*b*c, k, k) {pads p} -> y
after:   x -> Conv(W': o, c, b*k, b*k) {strides b, pads b*p} -> y

with W'[o, c, b*i + row, b*j + column] = W[o, (row*b + column)*C + c, i, j]: the same products, in
another order. Left alone: a SpaceToDepth with other readers, and convolutions that are strided,
dilated, grouped or have computed weights.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome
from tresnet_deploy.passes import _graph

_PLAIN = (1, 1)
_NO_PADS = (0, 0, 0, 0)


def apply(model: ir.Model) -> Outcome:
    """Merge each SpaceToDepth, native or of our domain, into the convolution after it."""
    outcome = _graph.attempted(
        [node for node in model.graph if node.op_type == "SpaceToDepth"], _fold
    )
    _graph.drop_unused(model)
    return outcome


def _fold(node: ir.Node) -> str | None:
    """Merge ``node`` into its reader, or return why not."""
    conv = _graph.sole_user(node.outputs[0])
    if conv is None or conv.op_type != "Conv":
        return "its only reader is not a convolution"
    weight = _graph.constant(conv.inputs[1])
    if weight is None:
        return f"the weights of {_graph.name_of(conv)} are computed"
    spread = {_graph.ints(conv, name, _PLAIN) for name in ("strides", "dilations")}
    if spread != {_PLAIN} or _graph.integer(conv, "group", 1) != 1:
        return f"{_graph.name_of(conv)} is strided, dilated or grouped"
    if "auto_pad" in conv.attributes and conv.attributes["auto_pad"].as_string() != "NOTSET":
        return f"{_graph.name_of(conv)} pads automatically"
    block = node.attributes["blocksize"].as_int()
    wide = _spread(weight, block)
    pads = _graph.ints(conv, "pads", _NO_PADS)
    conv.attributes["pads"] = ir.AttrInt64s("pads", [block * pad for pad in pads])
    conv.attributes["strides"] = ir.AttrInt64s("strides", (block, block))
    conv.attributes["kernel_shape"] = ir.AttrInt64s("kernel_shape", wide.shape[2:])
    _graph.set_constant(conv, 1, wide, name=f"{_graph.name_of(conv)}:weight")
    conv.replace_input_with(0, node.inputs[0])
    _graph.remove(node)
    return None


def _spread(weight: Array, block: int) -> Array:
    out, channels, height, width = weight.shape
    inner = channels // block**2
    x = weight.reshape(out, block, block, inner, height, width)  # (o, row, column, c, i, j)
    x = x.transpose(0, 3, 4, 1, 5, 2)  # (o, c, i, row, j, column)
    return np.ascontiguousarray(x.reshape(out, inner, height * block, width * block))
