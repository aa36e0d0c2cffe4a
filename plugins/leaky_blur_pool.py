"""LeakyBlurPool2d: this file is about a leaky ReLU and the blur after it as one operator.

``tresnet::LeakyBlurPool2d(x, filter) {alpha, group}`` is ``tresnet::BlurPool2d`` of the leaky ReLU
of ``x`` with slope ``alpha``. Networks hold the two apart; the graph pass leaky-into-blur joins
them for a runtime whose kernel does both while it reads the map once.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from tresnet_deploy.contracts import Array

from . import DOMAIN, blur_pool

OP_TYPE: Final = "LeakyBlurPool2d"


def reference(x: Array, *, alpha: float) -> Array:
    """Return ``x`` (N, C, H, W) activated and blurred; errors as for ``blur_pool.reference``."""
    return blur_pool.reference(x, slope=alpha)


def onnx_function(opset: int) -> ir.Function:
    """Return the meaning in standard operators of ``opset``: LeakyRelu, reflect Pad and Conv."""
    x, filter_ = ir.Value(name="x"), ir.Value(name="filter")
    alpha = ir.RefAttr("alpha", "alpha", ir.AttributeType.FLOAT)
    leaky = ir.node("LeakyRelu", [x], attributes={"alpha": alpha})
    leaky.outputs[0].name = "activated"
    nodes = (leaky, *blur_pool.blur_nodes(leaky.outputs[0], filter_))
    graph = ir.Graph(
        [x, filter_],
        nodes[-1].outputs,
        nodes=nodes,
        opset_imports={"": opset},
        name=OP_TYPE,
    )
    parameters = [
        ir.Attr("alpha", ir.AttributeType.FLOAT, None),
        ir.Attr("group", ir.AttributeType.INT, None),
    ]
    return ir.Function(DOMAIN, OP_TYPE, graph=graph, attributes=parameters)
