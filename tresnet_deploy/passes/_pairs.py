"""Q/DQ pairs: what the passes for integer kernels share.

Calibration records the range of every result of a quantised convolution after which TensorRT's
rules want no pair, as metadata of the value under ``AMAX``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome
from tresnet_deploy.passes import _graph

AMAX: Final = "tresnet_deploy.amax"
ACTIVATIONS: Final = ("LeakyRelu", "Relu")
_INT8_MAX: Final = 127
_ZERO_POINT: Final = 2  # index among the inputs of both operators

Grid = tuple[ir.Value, ...]
"""Scale and zero point, as QuantizeLinear takes them."""


@dataclass(frozen=True, kw_only=True)
class Dequantized:
    """uint8 activations on one grid: ``value = (integers - zero_point) * scale``."""

    value: ir.Value
    integers: ir.Value
    grid: Grid
    scale: float
    zero_point: int


def dequantized(value: ir.Value | None) -> Dequantized | None:
    """Return what ``value`` is made of, None unless it is uint8 of a single constant grid."""
    node = _graph.producer(value, "DequantizeLinear")
    if node is None or value is None or len(node.inputs) <= _ZERO_POINT:
        return None
    integers, *grid = node.inputs
    scale, zero_point = (_graph.constant(constant) for constant in grid)
    if integers is None or scale is None or zero_point is None:
        return None
    if scale.size != 1 or zero_point.dtype != np.uint8:
        return None
    return Dequantized(
        value=value,
        integers=integers,
        grid=tuple(constant for constant in grid if constant is not None),
        scale=float(scale.reshape(())),
        zero_point=int(zero_point.reshape(())),
    )


def move_to_unsigned(model: ir.Model, zero_point_of: Callable[[ir.Node], int | None]) -> Outcome:
    """Let int8 activations count in uint8 from where ``zero_point_of`` says, None: not at all.

    Left alone: zero points other than 0 or not constant, and integers that something else than a
    DequantizeLinear reads.
    """
    found = [(node, zero_point_of(node)) for node in model.graph if _makes_int8(node)]
    zero_points = {node: value for node, value in found if value is not None}

    def move(quantize: ir.Node) -> str | None:
        reason = _obstacle(quantize)
        if reason is None:
            set_zero_point(quantize, zero_points[quantize])
        return reason

    outcome = _graph.attempted(tuple(zero_points), move)
    _graph.drop_unused(model)
    return outcome


def _makes_int8(node: ir.Node) -> bool:
    zero_point = _zero_point(node) if node.op_type == "QuantizeLinear" else None
    return zero_point is not None and zero_point.dtype == np.int8


def _zero_point(node: ir.Node) -> Array | None:
    return _graph.constant(node.inputs[_ZERO_POINT]) if len(node.inputs) > _ZERO_POINT else None


def _obstacle(quantize: ir.Node) -> str | None:
    zero_point, integers = _zero_point(quantize), quantize.outputs[0]
    if zero_point is None or zero_point.any():
        return "its zero point is not 0"
    readers = integers.consumers()
    if integers.is_graph_output() or any(r.op_type != "DequantizeLinear" for r in readers):
        return "something else than a DequantizeLinear reads its integers"
    if any(_zero_point(reader) is None for reader in readers):
        return "a DequantizeLinear that reads it has no constant zero point"
    return None


def set_zero_point(quantize: ir.Node, zero_point: int) -> None:
    """Let ``quantize`` and all that dequantise its integers count in uint8 from ``zero_point``."""
    integers = quantize.outputs[0]
    for node in (quantize, *integers.consumers()):
        before = _zero_point(node)
        assert before is not None
        name = f"{integers.name}/zero_point_{zero_point}"
        _graph.set_constant(
            node, _ZERO_POINT, np.full(before.shape, zero_point, np.uint8), name=name
        )
    integers.type = ir.TensorType(ir.DataType.UINT8)


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
    return new_grid(graph, scale, np.int8(0), name=f"{value.name}/output")


def new_grid(graph: ir.Graph, scale: np.float32, zero_point: np.integer, *, name: str) -> Grid:
    """Return new constants in ``graph``."""
    made = []
    for suffix, array in (("scale", scale), ("zero_point", zero_point)):
        tensor = ir.tensor(np.asarray(array), name=f"{name}_{suffix}")
        constant = ir.Value(
            name=tensor.name,
            const_value=tensor,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(()),
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
    integers = quantize.outputs[0]
    integers.name, integers.type, integers.shape = f"{name}_quantized", grid[1].type, output.shape
    dequantize = ir.node("DequantizeLinear", [integers, *grid], name=f"{name}_DequantizeLinear")
    restored = dequantize.outputs[0]
    restored.name, restored.shape, restored.type = f"{name}_restored", output.shape, output.type
    assert node.graph is not None
    node.graph.insert_after(node, (quantize, dequantize))
    for use in uses:
        use.node.replace_input_with(use.idx, restored)
