"""Let additions read the float sum of the block before instead of its rounded copy.

before:  Add -> Relu -> Q -> DQ -> Conv, Add
after:   Add -> Relu -> Q -> DQ -> Conv
                     -> Add

For ONNX Runtime, whose additions are in float and whose DequantizeLinear runs on one thread. More
exact: the sum along the blocks is not rounded any more, the convolutions read what they read.
Left alone: what no addition made, because it would have to be taken to float as well.
"""

from __future__ import annotations

import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph


def apply(model: ir.Model) -> Outcome:
    """Rewire every addition that reads a sum of another one, rounded, in place."""
    changed = 0
    for add in [node for node in model.graph if node.op_type == "Add"]:
        for index, value in enumerate(add.inputs):
            exact = _sum_before_rounding(value)
            if exact is not None:
                add.replace_input_with(index, exact)
                changed += 1
    _graph.drop_unused(model)
    return Outcome(changed=changed)


def _sum_before_rounding(value: ir.Value | None) -> ir.Value | None:
    dequantize = _graph.producer(value, "DequantizeLinear")
    integers = None if dequantize is None else dequantize.inputs[0]
    quantize = _graph.producer(integers, "QuantizeLinear")
    exact = None if quantize is None else quantize.inputs[0]
    relu = _graph.producer(exact, "Relu")
    total = exact if relu is None else relu.inputs[0]
    return exact if _graph.producer(total, "Add") is not None else None
