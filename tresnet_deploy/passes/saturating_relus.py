"""Let uint8's end at 0 be the ReLU, where a convolution's result is rounded before it.

before:  Conv -> Q(s, 128) -> DQ -> LeakyRelu -> Q(s, 0) -> DQ
after:   Conv -> Q(s, 0) -> DQ

before:  Conv -> Q(s, 128) -> DQ -> LeakyRelu -> ReduceMean, Mul
after:   Conv -> Q(s, 0) -> DQ -> ReduceMean, Mul

A slope below 1/256 turns 128 negative steps into less than half a step, which rounds to 0: the same
integers up to 127 steps; values beyond are kept. It saves ONNX Runtime a table lookup a value.
Left alone: steeper slopes, as the stem's 1/100, and values that something else reads.
"""

from __future__ import annotations

import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph, _pairs, _signs


def apply(model: ir.Model) -> Outcome:
    """Drop every activation whose negative side vanishes on the grid before it, in place."""
    changed = 0
    for activation in [node for node in model.graph if _signs.is_flat(node)]:
        before = _pairs.dequantized(activation.inputs[0])
        if before is not None and _is_only_for(activation, before):
            _drop(activation, before)
            changed += 1
    _graph.drop_unused(model)
    return Outcome(changed=changed)


def _is_only_for(activation: ir.Node, before: _pairs.Dequantized) -> bool:
    """Whether nothing but ``activation`` reads what a convolution hands it, rounded."""
    quantize = _graph.producer(before.integers, "QuantizeLinear")
    return (
        quantize is not None
        and before.zero_point == _signs.NEGATIVE_STEPS
        and _graph.producer(quantize.inputs[0], "Conv") is not None
        and _graph.sole_user(before.integers) is before.value.producer()
        and _graph.sole_user(before.value) is activation
        and not activation.outputs[0].is_graph_output()
    )


def _drop(activation: ir.Node, before: _pairs.Dequantized) -> None:
    quantize, output = before.integers.producer(), activation.outputs[0]
    assert quantize is not None
    for reader in output.consumers():
        for again in map(_pairs.dequantized, _values(reader)):
            if again and (again.scale, again.zero_point) == (before.scale, 0):
                _graph.replace_value(again.value, before.value)
    _graph.replace_value(output, before.value)
    _pairs.set_zero_point(quantize, 0)


def _values(quantize: ir.Node) -> tuple[ir.Value, ...]:
    """Return what is read back of ``quantize``, nothing where it is another operator."""
    if quantize.op_type != "QuantizeLinear" or quantize.outputs[0].is_graph_output():
        return ()
    return tuple(reader.outputs[0] for reader in quantize.outputs[0].consumers())
