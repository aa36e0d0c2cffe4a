"""Give quantised convolutions a quantised output, without which ONNX Runtime runs them in float.

before:  DQ -> Conv -> LeakyRelu -> Q(s) -> DQ(s)
after:   DQ -> Conv -> Q(s) -> DQ(s) -> LeakyRelu -> Q(s) -> DQ(s)

before:  DQ -> Conv -> Mul, ReduceMean, Add                    (``amax`` recorded with the output)
after:   DQ -> Conv -> Q(amax / 127) -> DQ -> Mul, ReduceMean, Add

The first adds almost nothing: what is positive lands on the same step as before, and a negative
value, which the activation flattens by its slope, moves by one step at most (tested; beyond -128
steps the slope acts on -128). The second rounds a tensor that the other engines keep in float: its
range was calibrated with the others and travels in the graph.
Left alone: convolutions without a recorded range for their output.
"""

from __future__ import annotations

import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph, _pairs


def apply(model: ir.Model) -> Outcome:
    """Quantise the output of every convolution with a quantised input, in place."""
    return _graph.attempted([node for node in model.graph if _answers_in_float(node)], _quantize)


def _answers_in_float(node: ir.Node) -> bool:
    if not _pairs.is_quantized(node):
        return False
    output = node.outputs[0]
    return not output.is_graph_output() and _pairs.quantizer(output) is None


def _quantize(conv: ir.Node) -> str | None:
    grid = _activated_grid(conv) or _pairs.recorded_grid(conv, conv.outputs[0])
    if grid is None:
        return "no range of its output is recorded: it will run in float"
    _pairs.insert_after(conv, grid)
    return None


def _activated_grid(conv: ir.Node) -> _pairs.Grid | None:
    """Return scale and zero point of the activation that alone reads ``conv``."""
    activation = _graph.sole_user(conv.outputs[0])
    if activation is None or activation.op_type not in _pairs.ACTIVATIONS:
        return None
    output = activation.outputs[0]
    quantizer = _pairs.quantizer(output)
    if quantizer is None:
        return _pairs.recorded_grid(conv, output)
    return tuple(value for value in quantizer.inputs[1:] if value is not None)
