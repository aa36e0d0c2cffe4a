"""Move int8 activations to uint8 on exactly the same grid, as ONNX Runtime's CPU kernels want them.

before:  x -> Q(s, 0: int8) -> DQ(s, 0)            q = clip(round(x / s), -128, 127)
after:   x -> Q(s, 128: uint8) -> DQ(s, 128)       q + 128, and the same value comes back

A leaky ReLU leaves fewer negative steps, 1 of 128 with the stem's slope; that is its zero point:
the smaller, the less can CPUs without VNNI overflow. Weights stay int8.
Left alone: zero points other than 0 or not constant, and integers that something else than a
DequantizeLinear reads.
"""

from __future__ import annotations

import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _pairs, _signs


def apply(model: ir.Model) -> Outcome:
    """Shift every int8 activation that only DequantizeLinear reads, in place."""
    return _pairs.move_to_unsigned(model, lambda node: _signs.negative_steps(node.inputs[0]))
