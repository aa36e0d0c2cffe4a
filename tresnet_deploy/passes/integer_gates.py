"""Round the gates of SE blocks to bytes, where their products are rounded anyway.

before:  Mul(DQ(x), Sigmoid) -> Q
after:   Mul(DQ(x), DQ(Q(Sigmoid; 1/255, 0))) -> Q

ONNX Runtime multiplies bytes then (QLinearMul) instead of taking the whole tensor to float and
back. A gate moves by 1/510 at most.
Left alone: products that go on in float.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph, _pairs

_STEP: Final = np.float32(1 / 255)


def apply(model: ir.Model) -> Outcome:
    """Round the Sigmoid of every product that is quantised, in place."""
    changed = 0
    for product in [node for node in model.graph if node.op_type == "Mul"]:
        reader = _graph.sole_user(product.outputs[0])
        if reader is None or reader.op_type != "QuantizeLinear":
            continue
        gates = [_graph.producer(value, "Sigmoid") for value in product.inputs]
        factors = [_pairs.dequantized(value) for value in product.inputs]
        for gate, factor in zip(gates, reversed(factors), strict=True):
            if gate is not None and factor is not None:
                name = f"{gate.outputs[0].name}/gate"
                assert isinstance(gate.graph, ir.Graph)
                grid = _pairs.new_grid(gate.graph, _STEP, np.uint8(0), name=name)
                _pairs.insert_after(gate, grid)
                changed += 1
    return Outcome(changed=changed)
