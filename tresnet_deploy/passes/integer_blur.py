"""Blur integers: the filter is exact in them, and the bytes are a quarter of the floats.

before:  Conv -> Q(s, z) -> DQ -> Pad -> Conv[1 2 1; 2 4 2; 1 2 1] / 16
after:   Conv -> Q(s, z) -> Pad -> DQ -> Conv of DQ([1 2 1; 2 4 2; 1 2 1], 1/16) -> Q(s, z) -> DQ

A mean of steps stays within their range, so the result has a grid without calibration: that of a
QuantizeLinear which reads it already, which costs nothing, else that of the input, which rounds it.
For ONNX Runtime, which has an integer kernel for depthwise convolutions.
Left alone: filters that are no sixteenths of integers or whose sum is not 1, and other paddings.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome, Refusal
from tresnet_deploy.passes import _graph, _pairs

_UNIT: Final = np.float32(1 / 16)


def apply(model: ir.Model) -> Outcome:
    """Rewrite every depthwise mean of a padded, dequantised tensor, in place."""
    changed, left = 0, []
    for conv in [node for node in model.graph if _is_depthwise(node)]:
        pad = _graph.producer(conv.inputs[0], "Pad")
        before = None if pad is None else _pairs.dequantized(pad.inputs[0])
        kernel = _graph.constant(conv.inputs[1])
        if pad is None or before is None or kernel is None:
            continue
        if not (_graph.repeats_values(pad) and _is_mean(kernel)):
            left.append(Refusal(match=_graph.name_of(conv), reason="it is no mean of sixteenths"))
            continue
        _pad_integers(pad, conv, before)
        _quantize_filter(conv, np.rint(kernel / _UNIT).astype(np.int8))
        if _pairs.quantizer(conv.outputs[0]) is None:
            _pairs.insert_after(conv, before.grid)
        changed += 1
    _graph.drop_unused(model)
    return Outcome(changed=changed, left=tuple(left))


def _is_depthwise(node: ir.Node) -> bool:
    has_bias = len(node.inputs) > len(("images", "filter"))
    return node.op_type == "Conv" and _graph.integer(node, "group", 1) > 1 and not has_bias


def _is_mean(kernel: Array) -> bool:
    steps = np.rint(kernel / _UNIT)
    sums = steps.reshape(len(steps), -1).sum(axis=1)
    return bool(
        np.all(steps >= 0) and np.all(steps * _UNIT == kernel) and np.all(sums == 1 / _UNIT)
    )


def _pad_integers(pad: ir.Node, conv: ir.Node, before: _pairs.Dequantized) -> None:
    """Let ``conv`` read integers that are padded first and dequantised then."""
    name = f"{_graph.name_of(conv)}/input"
    padded = ir.node(
        "Pad", [before.integers, *pad.inputs[1:]], attributes=pad.attributes, name=f"{name}/Pad"
    )
    dequantize = ir.node(
        "DequantizeLinear",
        [padded.outputs[0], *before.grid],
        name=f"{name}/DequantizeLinear",
    )
    integers, value = padded.outputs[0], dequantize.outputs[0]
    integers.name, integers.type = f"{name}/padded", before.integers.type
    value.name, value.type, value.shape = name, pad.outputs[0].type, pad.outputs[0].shape
    _insert_before(conv, padded, dequantize)
    conv.replace_input_with(0, value)


def _quantize_filter(conv: ir.Node, integers: Array) -> None:
    """Let ``conv`` read its filter as ``integers`` of sixteenths."""
    weight = conv.inputs[1]
    assert weight is not None
    name = f"{_graph.name_of(conv)}/weight"
    dequantize = ir.node(
        "DequantizeLinear", [None], attributes={"axis": 0}, name=f"{name}/DequantizeLinear"
    )
    value = dequantize.outputs[0]
    value.name, value.type, value.shape = name, weight.type, weight.shape
    _insert_before(conv, dequantize)
    constants = (integers, np.full(len(integers), _UNIT), np.zeros(len(integers), np.int8))
    for index, array in enumerate(constants):
        _graph.set_constant(dequantize, index, array, name=f"{name}/{index}")
    conv.replace_input_with(1, value)


def _insert_before(conv: ir.Node, *nodes: ir.Node) -> None:
    assert conv.graph is not None
    conv.graph.insert_before(conv, nodes)
