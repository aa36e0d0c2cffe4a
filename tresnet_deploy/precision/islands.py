"""FP32 islands in FP16 graphs: this file is about activations that FP16 cannot hold.

    x -> Conv -> y -> LeakyRelu -> z -> Conv ...                  |y| and |z| near 65504
    x -> Cast(FP32) -> Conv -> y -> LeakyRelu -> z -> Conv -> Cast(half) ...

A node that reads or writes such a value computes in FP32; ``half`` puts the casts at the shores.
What a value reached on real images is written down with it in the graph, so that the knowledge
travels with a file: whoever types the remainder of an INT8 graph finds it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

FP16_MAX: Final = float(np.finfo(np.float16).max)
MARGIN: Final = 4  # two bits: some images will reach more than those that were measured

OVERFLOW: Final = "tresnet_deploy.fp16_overflow"
"""The metadata of a value that gets no FP16: the largest magnitude it had."""

_NAMED: Final = 3  # how many places one line names


def mark(graph: ir.Graph, amax: Mapping[str, float]) -> tuple[str, ...]:
    """Mark the values of ``graph`` that come within ``MARGIN`` of FP16's end; return them named.

    ``amax`` has the largest magnitude of each measured value by name.
    """
    values = [value for node in graph for value in node.outputs]
    risky = [value for value in values if amax.get(value.name or "", 0.0) * MARGIN > FP16_MAX]
    for value in risky:
        value.metadata_props[OVERFLOW] = f"{amax[value.name or '']:.4g}"
    return tuple(value.name or "" for value in risky)


def wide_nodes(graph: ir.Graph) -> dict[ir.Node, str]:
    """Return the nodes that FP16 is too narrow for, in order, and which value is why.

    Beside the marked values these are constants beyond FP16's end, and what is dequantised after a
    marked value was quantised.
    """
    reasons: dict[ir.Value, str] = {}
    wide: dict[ir.Node, str] = {}
    for node in graph:
        for value in node.outputs:
            reached = value.metadata_props.get(OVERFLOW)
            if reached is not None:
                reasons[value] = f"{value.name} reaches {reached}"
        _follow_pair(node, reasons)
        touched = [value for value in (*node.inputs, *node.outputs) if value is not None]
        found = [reasons.get(value) or _too_large(value) for value in touched]
        if any(found):
            wide[node] = next(filter(None, found))
    return wide


def summary(wide: Mapping[ir.Node, str]) -> str:
    """Return in one line which values keep how many nodes in FP32; empty where there are none."""
    if not wide:
        return ""
    places = list(dict.fromkeys(wide.values()))
    more = f", ... ({len(places)} values)" if len(places) > _NAMED else ""
    return f"{', '.join(places[:_NAMED])}{more}; FP16 ends at {FP16_MAX:.0f}"


def _follow_pair(node: ir.Node, reasons: dict[ir.Value, str]) -> None:
    """Let what is dequantised be as wide as what was quantised."""
    if node.op_type != "DequantizeLinear" or node.inputs[0] is None:
        return
    quantize = node.inputs[0].producer()
    source = quantize.inputs[0] if quantize is not None else None
    if source is not None and source in reasons:
        reasons[node.outputs[0]] = reasons[source]


def _too_large(value: ir.Value) -> str:
    if value.dtype != ir.DataType.FLOAT or value.const_value is None:
        return ""
    largest = float(np.abs(value.const_value.numpy()).max(initial=0.0))
    return f"the constant {value.name} reaches {largest:.4g}" if largest > FP16_MAX else ""
