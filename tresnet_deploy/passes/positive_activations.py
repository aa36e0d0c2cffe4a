"""Give uint8 activations without negative steps the zero point 0, and drop what cut them off.

before:  Conv -> Q(s, 128) -> DQ -> LeakyRelu -> Q(s, 128) -> DQ
after:   Conv -> Q(s, 0) -> DQ                   saturates at 0: that is the ReLU

before:  Conv -> Q(s, 128) -> DQ -> LeakyRelu -> ReduceMean, Mul
after:   Conv -> Q(s, 0) -> DQ -> ReduceMean, Mul

before:  Add -> Relu -> Q(s, 128) -> DQ
after:   Add -> Relu -> Q(s, 0) -> DQ

A slope below 1/256 turns 128 negative steps into less than half a step, which rounds to 0: the same
integers. TResNet's is 1/1000. Values above 127 steps, where int8 saturates, are kept up to 255. It
saves ONNX Runtime a table lookup for each value; and up to 127 steps its kernels for CPUs without
VNNI cannot overflow, which add two products in 16 bits.
Left alone: steeper slopes, as the stem's 1/100, and values that something else reads.
"""

from __future__ import annotations

from typing import Final

import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph, _pairs

_NEGATIVE_STEPS: Final = 128
_DEFAULT_SLOPE: Final = 0.01  # of LeakyRelu


def apply(model: ir.Model) -> Outcome:
    """Rewrite every activation whose negative side vanishes on its grid, in place."""
    changed = 0
    for activation in [node for node in model.graph if _is_flat(node)]:
        before = _pairs.dequantized(activation.inputs[0])
        if before is not None and _is_only_for(activation, before):
            changed += _drop(activation, before)
        elif activation.op_type == "Relu":
            changed += sum(_starts_at_zero(reader) for reader in activation.outputs[0].consumers())
    _graph.drop_unused(model)
    return Outcome(changed=changed)


def _is_flat(node: ir.Node) -> bool:
    if node.op_type == "LeakyRelu":
        slope = _graph.number(node, "alpha", _DEFAULT_SLOPE)
        return 0 <= slope * _NEGATIVE_STEPS < 1 / 2
    return node.op_type == "Relu"


def _is_only_for(activation: ir.Node, before: _pairs.Dequantized) -> bool:
    """Whether nothing but ``activation`` reads what a convolution hands it, rounded."""
    quantize = _graph.producer(before.integers, "QuantizeLinear")
    return (
        quantize is not None
        and _graph.producer(quantize.inputs[0], "Conv") is not None
        and _graph.sole_user(before.integers) is before.value.producer()
        and _graph.sole_user(before.value) is activation
        and not activation.outputs[0].is_graph_output()
    )


def _drop(activation: ir.Node, before: _pairs.Dequantized) -> bool:
    quantize = before.integers.producer()
    if quantize is None or not _starts_at_zero(quantize):
        return False
    output = activation.outputs[0]
    for reader in output.consumers():
        for again in map(_pairs.dequantized, _values(reader)):
            if again and (again.scale, again.zero_point) == (before.scale, before.zero_point):
                _graph.replace_value(again.value, before.value)
    _graph.replace_value(output, before.value)
    return True


def _values(quantize: ir.Node) -> tuple[ir.Value, ...]:
    """Return what is read back of ``quantize``, nothing where it is another operator."""
    if quantize.op_type != "QuantizeLinear" or quantize.outputs[0].is_graph_output():
        return ()
    return tuple(reader.outputs[0] for reader in quantize.outputs[0].consumers())


def _starts_at_zero(quantize: ir.Node) -> bool:
    """Move the grid of ``quantize`` up by its negative steps, if only dequantisers read it."""
    grids = [_pairs.dequantized(value) for value in _values(quantize)]
    if not grids or any(grid is None or grid.zero_point != _NEGATIVE_STEPS for grid in grids):
        return False
    _pairs.set_zero_point(quantize, 0)
    return True
