"""Move int8 activations to uint8 on exactly the same grid, as ONNX Runtime's CPU kernels want them.

before:  x -> Q(s, 0: int8) -> DQ(s, 0)            q = clip(round(x / s), -128, 127)
after:   x -> Q(s, 128: uint8) -> DQ(s, 128)       q + 128, and the same value comes back

Weights stay int8. Left alone: zero points other than 0 or not constant, and integers that something
else than a DequantizeLinear reads.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome, Refusal
from tresnet_deploy.passes import _graph, _pairs

_ZERO_POINT: Final = 2  # index among the inputs of both operators
_SHIFT: Final = 128


def apply(model: ir.Model) -> Outcome:
    """Shift every int8 activation that only DequantizeLinear reads, in place."""
    changed, left = 0, []
    for node in [node for node in model.graph if node.op_type == "QuantizeLinear"]:
        zero_point = _graph.constant(_input(node, _ZERO_POINT))
        if zero_point is None or zero_point.dtype != np.int8:
            continue  # uint8 already, which a missing zero point means as well
        reason = _obstacle(node, zero_point)
        if reason is not None:
            left.append(Refusal(match=_graph.name_of(node), reason=reason))
            continue
        _pairs.set_zero_point(node, _SHIFT)
        changed += 1
    _graph.drop_unused(model)
    return Outcome(changed=changed, left=tuple(left))


def _input(node: ir.Node, index: int) -> ir.Value | None:
    return node.inputs[index] if index < len(node.inputs) else None


def _obstacle(node: ir.Node, zero_point: Array) -> str | None:
    if zero_point.any():
        return "its zero point is not 0"
    integers = node.outputs[0]
    readers = integers.consumers()
    if integers.is_graph_output() or any(r.op_type != "DequantizeLinear" for r in readers):
        return "something else than a DequantizeLinear reads its integers"
    if any(_graph.constant(_input(r, _ZERO_POINT)) is None for r in readers):
        return "a DequantizeLinear that reads it has no constant zero point"
    return None
