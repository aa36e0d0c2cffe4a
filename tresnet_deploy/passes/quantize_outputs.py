"""Give quantised convolutions a quantised output, without which ONNX Runtime runs them in float.

before:  DQ -> Conv -> LeakyRelu -> Q(s) -> DQ(s)
after:   DQ -> Conv -> Q(s) -> DQ(s) -> LeakyRelu -> Q(s) -> DQ(s)

before:  DQ -> Conv -> Mul, ReduceMean, Add                    (``amax`` recorded with the output)
after:   DQ -> Conv -> Q(amax / 127) -> DQ -> Mul, ReduceMean, Add

The first adds almost nothing: what is positive lands on the same step as before, and a negative
value, which the activation flattens by its slope, moves by one step at most (tested; beyond -128
steps the slope acts on -128). The second rounds a tensor that the other engines keep in float: its
range was calibrated with the others and travels in the graph under ``AMAX``.
Left alone: convolutions without a recorded range for their output.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome, Refusal
from tresnet_deploy.passes import _graph

AMAX: Final = "tresnet_deploy.amax"
_ACTIVATIONS: Final = ("LeakyRelu", "Relu")
_INT8_MAX: Final = 127


def apply(model: ir.Model) -> Outcome:
    """Quantise the output of every convolution with a quantised input, in place."""
    changed, left = 0, []
    for conv in [node for node in model.graph if _is_quantized(node)]:
        output = conv.outputs[0]
        if output.is_graph_output() or _quantizer(output) is not None:
            continue
        grid = _activated_grid(conv) or _recorded_grid(conv, output)
        if grid is None:
            reason = "no range of its output is recorded: it will run in float"
            left.append(Refusal(match=_graph.name_of(conv), reason=reason))
            continue
        _insert_pair(conv, output, grid)
        changed += 1
    return Outcome(changed=changed, left=tuple(left))


def _is_quantized(node: ir.Node) -> bool:
    return node.op_type == "Conv" and all(
        _graph.producer(value, "DequantizeLinear") is not None for value in node.inputs[:2]
    )


def _quantizer(value: ir.Value) -> ir.Node | None:
    """Return a QuantizeLinear that reads ``value``."""
    found = (node for node in value.consumers() if node.op_type == "QuantizeLinear")
    return next(found, None)


def _activated_grid(conv: ir.Node) -> tuple[ir.Value, ...] | None:
    """Return scale and zero point of the activation that alone reads ``conv``."""
    activation = _graph.sole_user(conv.outputs[0])
    if activation is None or activation.op_type not in _ACTIVATIONS:
        return None
    output = activation.outputs[0]
    quantizer = _quantizer(output)
    if quantizer is None:
        return _recorded_grid(conv, output)
    return tuple(value for value in quantizer.inputs[1:] if value is not None)


def _recorded_grid(conv: ir.Node, value: ir.Value) -> tuple[ir.Value, ...] | None:
    """Return new constants for the range that calibration has recorded with ``value``."""
    recorded = value.metadata_props.get(AMAX)
    graph = conv.graph
    if recorded is None or not isinstance(graph, ir.Graph):
        return None
    scale = np.float32(float(recorded) / _INT8_MAX)
    if not (np.isfinite(scale) and scale > 0):
        return None
    constants: tuple[Array, ...] = (np.asarray(scale), np.asarray(0, np.int8))
    made = []
    for suffix, array in zip(("scale", "zero_point"), constants, strict=True):
        name = f"{value.name}/output_{suffix}"
        tensor = ir.tensor(array, name=name)
        constant = ir.Value(
            name=name, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(())
        )
        graph.register_initializer(constant)
        made.append(constant)
    return tuple(made)


def _insert_pair(conv: ir.Node, output: ir.Value, grid: tuple[ir.Value, ...]) -> None:
    uses = tuple(output.uses())
    name = f"{output.name}/output"
    quantize = ir.node("QuantizeLinear", [output, *grid], name=f"{name}_QuantizeLinear")
    quantize.outputs[0].name = f"{name}_quantized"
    dequantize = ir.node(
        "DequantizeLinear", [quantize.outputs[0], *grid], name=f"{name}_DequantizeLinear"
    )
    restored = dequantize.outputs[0]
    restored.name, restored.shape, restored.type = f"{name}_restored", output.shape, output.type
    assert conv.graph is not None
    conv.graph.insert_after(conv, (quantize, dequantize))
    for use in uses:
        use.node.replace_input_with(use.idx, restored)
