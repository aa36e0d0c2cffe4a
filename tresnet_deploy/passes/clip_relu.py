"""Quantise what a ReLU makes to uint8 with zero point 0, on exactly the same grid.

before:  x -> Relu -> Q(s, 0: int8) -> DQ            q = clip(round(max(x, 0) / s), 0, 127)
after:   x -> Clip(0, 127 s) -> Q(s, 0: uint8) -> DQ    the same integers, from 0 to 127

OpenVINO runs signed activations as uint8 with the zero point 128, and each convolution then has to
take 128 times its weights off again. What a ReLU makes needs no sign. The clip saturates where int8
did, and is fused into the convolution before it as the ReLU was.
Left alone: values that something else than the QuantizeLinear reads, other zero points, and scales
that are no single constant.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Outcome, Refusal
from tresnet_deploy.passes import _graph, _pairs

CLIPPED: Final = "/clipped"
"""What the name of a ReLU's output has got at its end where this pass has replaced it."""

_SCALE: Final = 1  # indices among the inputs of both operators
_ZERO_POINT: Final = 2
_INT8_MAX: Final = 127


def apply(model: ir.Model) -> Outcome:
    """Rewrite every Relu that only an int8 QuantizeLinear reads, in place."""
    changed, left = 0, []
    for quantize in [node for node in model.graph if node.op_type == "QuantizeLinear"]:
        relu = _graph.producer(quantize.inputs[0], "Relu")
        zero_point = _constant(quantize, _ZERO_POINT)
        if relu is None or zero_point is None or zero_point.dtype != np.int8:
            continue
        reason = _obstacle(relu, quantize)
        if reason is None:
            _clip(relu, quantize)
            changed += 1
        else:
            left.append(Refusal(match=_graph.name_of(relu), reason=reason))
    _graph.drop_unused(model)
    return Outcome(changed=changed, left=tuple(left))


def _constant(node: ir.Node, index: int) -> np.ndarray | None:
    return _graph.constant(node.inputs[index]) if index < len(node.inputs) else None


def _obstacle(relu: ir.Node, quantize: ir.Node) -> str | None:
    scale, zero_point = _constant(quantize, _SCALE), _constant(quantize, _ZERO_POINT)
    integers = quantize.outputs[0]
    if _graph.sole_user(relu.outputs[0]) is not quantize:
        return "something else than the QuantizeLinear reads it"
    if scale is None or scale.size != 1:
        return "its scale is no single constant"
    if zero_point is None or zero_point.any():
        return "its zero point is not 0"
    if integers.is_graph_output() or any(
        reader.op_type != "DequantizeLinear" or _constant(reader, _ZERO_POINT) is None
        for reader in integers.consumers()
    ):
        return "something else than a DequantizeLinear with a zero point reads its integers"
    return None


def _clip(relu: ir.Node, quantize: ir.Node) -> None:
    scale = _constant(quantize, _SCALE)
    assert scale is not None
    value = relu.outputs[0]
    clip = ir.node("Clip", [relu.inputs[0]], name=f"{_graph.name_of(relu)}/Clip")
    clipped = clip.outputs[0]
    clipped.name, clipped.shape, clipped.type = f"{value.name}{CLIPPED}", value.shape, value.type
    graph = relu.graph
    assert graph is not None
    graph.insert_after(relu, clip)
    low, high = np.zeros((), scale.dtype), np.asarray(_INT8_MAX * scale.reshape(()))
    _graph.set_constant(clip, 1, low, name=f"{value.name}/low")
    _graph.set_constant(clip, 2, high.astype(scale.dtype), name=f"{value.name}/high")
    quantize.replace_input_with(0, clipped)
    _pairs.set_zero_point(quantize, 0)
