"""Q/DQ pairs after quantised convolutions: what two passes share.

Calibration records the range of every result of a quantised convolution after which TensorRT's
rules want no pair, as metadata of the value under ``AMAX``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array
from tresnet_deploy.passes import _graph

AMAX: Final = "tresnet_deploy.amax"
ACTIVATIONS: Final = ("LeakyRelu", "Relu")
_INT8_MAX: Final = 127

Grid = tuple[ir.Value, ...]
"""Scale and zero point, as QuantizeLinear takes them."""


def is_quantized(node: ir.Node) -> bool:
    """Whether ``node`` is a convolution of dequantised integers."""
    return node.op_type == "Conv" and all(
        _graph.producer(value, "DequantizeLinear") is not None for value in node.inputs[:2]
    )


def quantizer(value: ir.Value) -> ir.Node | None:
    """Return a QuantizeLinear that reads ``value``."""
    found = (node for node in value.consumers() if node.op_type == "QuantizeLinear")
    return next(found, None)


def recorded_grid(node: ir.Node, value: ir.Value) -> Grid | None:
    """Return new constants in the graph of ``node`` for the range recorded with ``value``."""
    recorded = value.metadata_props.get(AMAX)
    graph = node.graph
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


def insert_after(node: ir.Node, grid: Grid) -> None:
    """Let all readers of the output of ``node`` read it rounded to ``grid``."""
    output = node.outputs[0]
    uses = tuple(output.uses())
    name = f"{output.name}/output"
    quantize = ir.node("QuantizeLinear", [output, *grid], name=f"{name}_QuantizeLinear")
    quantize.outputs[0].name = f"{name}_quantized"
    dequantize = ir.node(
        "DequantizeLinear", [quantize.outputs[0], *grid], name=f"{name}_DequantizeLinear"
    )
    restored = dequantize.outputs[0]
    restored.name, restored.shape, restored.type = f"{name}_restored", output.shape, output.type
    assert node.graph is not None
    node.graph.insert_after(node, (quantize, dequantize))
    for use in uses:
        use.node.replace_input_with(use.idx, restored)
