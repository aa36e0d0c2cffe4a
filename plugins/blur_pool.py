"""BlurPool2d: this file is about anti-aliased downsampling by two.

``tresnet::BlurPool2d(x, filter) {group}``: (N, C, H, W), (C, 1, 3, 3) -> (N, C, H', W') with
H' = ceil(H/2) and W' = ceil(W/2). A depthwise convolution of stride 2 after reflect padding by one
pixel; the filter is always [1, 2, 1] x [1, 2, 1] / 16 (arXiv 1904.11486) and stands in the graph
because a convolution needs its weights; ``group`` is C. The kernels and the references below can
take the leaky ReLU before it along; a ``slope`` of 1 is none.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array

from . import DOMAIN
from .kernels.plans import check_blur

OP_TYPE: Final = "BlurPool2d"
BINOMIAL: Final = (1.0, 2.0, 1.0)
_PADS: Final = (0, 0, 1, 1, 0, 0, 1, 1)  # one pixel on each side of height and width


def binomial_filter(channels: int, dtype: type[np.floating] = np.float32) -> Array:
    """Return the filter (C, 1, 3, 3), whose values are exact in every float type."""
    line = np.asarray(BINOMIAL, dtype=dtype)
    square = np.outer(line, line) / line.sum() ** 2
    return np.ascontiguousarray(np.broadcast_to(square, (channels, 1, *square.shape)))


def reference(x: Array, *, slope: float = 1.0) -> Array:
    """Return ``x`` (N, C, H, W) blurred at half the resolution, in the type of ``x``.

    Raises:
        UsageError: a side has fewer than two pixels, so that there is nothing to reflect.
    """
    check_blur(x.shape)
    height, width = x.shape[2:]
    active = np.where(x > 0, x, x * np.asarray(slope, dtype=x.dtype))
    padded = np.pad(active, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    line = np.asarray(BINOMIAL, dtype=x.dtype) / np.asarray(sum(BINOMIAL), dtype=x.dtype)
    rows = sum(tap * padded[:, :, at : at + height : 2] for at, tap in enumerate(line))
    blurred = sum(tap * rows[:, :, :, at : at + width : 2] for at, tap in enumerate(line))
    return np.asarray(blurred)  # (N, C, ceil(H/2), ceil(W/2))


def reference_int8(x: Array, *, slope: float = 1.0, ratio: float = 1.0) -> Array:
    """Return the blur of an int8 map, rounded half to even as QuantizeLinear does.

    ``ratio`` is scale of x / scale of y; values beyond int8 are clamped.
    """
    blurred = reference(x.astype(np.float32), slope=slope) * np.float32(ratio)
    limits = np.iinfo(np.int8)
    return np.clip(np.rint(blurred), limits.min, limits.max).astype(np.int8)


def reference_gradient(
    gradient: Array, x: Array | None = None, *, height: int, width: int, slope: float = 1.0
) -> Array:
    """Return the gradient of the input of shape (N, C, height, width).

    ``gradient`` (N, C, H', W') is that of the output, ``x`` the input, needed for a slope only.
    """
    n, c, rows, columns = gradient.shape
    padded = np.zeros((n, c, height + 2, width + 2), dtype=gradient.dtype)
    line = np.asarray(BINOMIAL, dtype=gradient.dtype) / np.asarray(sum(BINOMIAL), gradient.dtype)
    for row, down in enumerate(line):
        for column, across in enumerate(line):
            reads = padded[:, :, row : row + 2 * rows : 2, column : column + 2 * columns : 2]
            reads += down * across * gradient
    for axis in (2, 3):
        padded = _folded_in(padded, axis)
    return padded if x is None else np.where(x > 0, padded, padded * slope)


def _folded_in(padded: Array, axis: int) -> Array:
    """Add the first and the last of ``axis`` to the pixels that they mirror, and drop them."""
    along = np.moveaxis(padded, axis, 0)
    inner = along[1:-1].copy()
    inner[1] += along[0]
    inner[-2] += along[-1]
    return np.moveaxis(inner, 0, axis)


def onnx_function(opset: int) -> ir.Function:
    """Return the operator's meaning in standard operators of ``opset``: reflect Pad and Conv."""
    x, filter_ = ir.Value(name="x"), ir.Value(name="filter")
    nodes = blur_nodes(x, filter_)
    graph = ir.Graph(
        [x, filter_],
        nodes[-1].outputs,
        nodes=nodes,
        opset_imports={"": opset},
        name=OP_TYPE,
    )
    parameters = [ir.Attr("group", ir.AttributeType.INT, None)]
    return ir.Function(DOMAIN, OP_TYPE, graph=graph, attributes=parameters)


def blur_nodes(x: ir.Value, filter_: ir.Value) -> tuple[ir.Node, ...]:
    """Return the nodes that blur ``x``; the last one's output is called y."""
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
    return pads, padded, conv
