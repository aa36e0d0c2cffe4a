"""BlurPool2d: this file is about anti-aliased downsampling by two.

``tresnet::BlurPool2d(x, filter) {group}``: (N, C, H, W), (C, 1, 3, 3) -> (N, C, H', W') with
H' = ceil(H/2) and W' = ceil(W/2). A depthwise convolution of stride 2 after reflect padding by one
pixel; the filter is always [1, 2, 1] x [1, 2, 1] / 16 (arXiv 1904.11486) and stands in the graph
because a convolution needs its weights; ``group`` is C.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array

from . import DOMAIN

OP_TYPE: Final = "BlurPool2d"
BINOMIAL: Final = (1.0, 2.0, 1.0)
_PADS: Final = (0, 0, 1, 1, 0, 0, 1, 1)  # one pixel on each side of height and width


def binomial_filter(channels: int, dtype: type[np.floating] = np.float32) -> Array:
    """Return the filter (C, 1, 3, 3), whose values are exact in every float type."""
    line = np.asarray(BINOMIAL, dtype=dtype)
    square = np.outer(line, line) / line.sum() ** 2
    return np.ascontiguousarray(np.broadcast_to(square, (channels, 1, *square.shape)))


def reference(x: Array) -> Array:
    """Return ``x`` (N, C, H, W) blurred at half the resolution, in the type of ``x``."""
    height, width = x.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    line = np.asarray(BINOMIAL, dtype=x.dtype) / np.asarray(sum(BINOMIAL), dtype=x.dtype)
    rows = sum(tap * padded[:, :, at : at + height : 2] for at, tap in enumerate(line))
    blurred = sum(tap * rows[:, :, :, at : at + width : 2] for at, tap in enumerate(line))
    return np.asarray(blurred)  # (N, C, ceil(H/2), ceil(W/2))


def onnx_function(opset: int) -> ir.Function:
    """Return the operator's meaning in standard operators of ``opset``: reflect Pad and Conv."""
    x, filter_ = ir.Value(name="x"), ir.Value(name="filter")
    pads = ir.node("Constant", [], attributes={"value": ir.tensor(np.array(_PADS, np.int64))})
    padded = ir.node("Pad", [x, pads.outputs[0]], attributes={"mode": "reflect"})
    conv = ir.node(
        "Conv",
        [padded.outputs[0], filter_],
        attributes={
            "strides": (2, 2),
            "group": ir.RefAttr("group", "group", ir.AttributeType.INT),
        },
    )
    for node, name in ((pads, "pads"), (padded, "padded"), (conv, "y")):
        node.outputs[0].name = name
    graph = ir.Graph(
        [x, filter_],
        [conv.outputs[0]],
        nodes=[pads, padded, conv],
        opset_imports={"": opset},
        name=OP_TYPE,
    )
    parameters = [ir.Attr("group", ir.AttributeType.INT, None)]
    return ir.Function(DOMAIN, OP_TYPE, graph=graph, attributes=parameters)
