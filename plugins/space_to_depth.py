"""SpaceToDepth: this file is about moving blocks of pixels into channels.

``tresnet::SpaceToDepth(x) {blocksize}``: (N, C, H, W) -> (N, b*b*C, H/b, W/b) for blocksize b.
Output channel ``(row*b + column)*C + c`` holds input channel c of that row and column of the block,
which is the order of ONNX's own SpaceToDepth. PyTorch's exporter never emits that operator.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array

from . import DOMAIN

OP_TYPE: Final = "SpaceToDepth"


def reference(x: Array, *, blocksize: int) -> Array:
    """Return ``x`` (N, C, H, W) rearranged; H and W must be multiples of ``blocksize``."""
    n, c, h, w = x.shape
    b = blocksize
    x = x.reshape(n, c, h // b, b, w // b, b)  # (N, C, H/b, row, W/b, column)
    x = x.transpose(0, 3, 5, 1, 2, 4)  # (N, row, column, C, H/b, W/b)
    return np.ascontiguousarray(x.reshape(n, b * b * c, h // b, w // b))


def onnx_function(opset: int) -> ir.Function:
    """Return the operator's meaning in standard operators of ``opset``: one native node."""
    x = ir.Value(name="x")
    blocksize = ir.RefAttr("blocksize", "blocksize", ir.AttributeType.INT)
    node = ir.node("SpaceToDepth", [x], attributes={"blocksize": blocksize})
    y = node.outputs[0]
    y.name = "y"
    graph = ir.Graph([x], [y], nodes=[node], opset_imports={"": opset}, name=OP_TYPE)
    parameters = [ir.Attr("blocksize", ir.AttributeType.INT, None)]
    return ir.Function(DOMAIN, OP_TYPE, graph=graph, attributes=parameters)
