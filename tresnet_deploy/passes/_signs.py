"""What made a value tells whether it can be negative."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.passes import _graph, _pairs

NEGATIVE_STEPS: Final = 128  # of an int8 grid
_DEFAULT_SLOPE: Final = 0.01  # of LeakyRelu


def negative_steps(value: ir.Value | None) -> int:
    """Return how many of int8's 128 negative steps ``value`` can have, by what made it, rounded.

    A ReLU leaves none, a leaky ReLU as many as its slope does; of others all 128 are expected.
    """
    node = None if value is None else value.producer()
    if node is None or node.op_type not in _pairs.ACTIVATIONS:
        return NEGATIVE_STEPS
    slope = 0.0 if node.op_type == "Relu" else _graph.number(node, "alpha", _DEFAULT_SLOPE)
    return math.floor(slope * NEGATIVE_STEPS + 1 / 2) if 0 <= slope < 1 else NEGATIVE_STEPS


def is_flat(node: ir.Node) -> bool:
    """Whether ``node`` is an activation that leaves no negative step: its slope is below 1/256."""
    return negative_steps(node.outputs[0]) == 0


def is_never_negative(value: ir.Value | None) -> bool:
    """Whether ``value`` is positive or 0 whatever the input, but for what a flat slope leaves."""
    node = None if value is None else value.producer()
    rule = None if node is None else _RULES.get(node.op_type)
    return node is not None and rule is not None and rule(node)


def _as_its_first(node: ir.Node) -> bool:
    return is_never_negative(node.inputs[0])


def _as_all(node: ir.Node) -> bool:
    return all(map(is_never_negative, node.inputs))


def _dequantized(node: ir.Node) -> bool:
    zero_points = [_graph.constant(value) for value in node.inputs[2:]]
    from_zero = any(
        array is not None and array.dtype == np.uint8 and not array.any() for array in zero_points
    )
    return from_zero or _as_its_first(node)


def _padded(node: ir.Node) -> bool:
    return _graph.repeats_values(node) and _as_its_first(node)


def _convolved(node: ir.Node) -> bool:
    """A blur, say: no weight and no bias is negative."""
    arrays = [_graph.constant(value) for value in node.inputs[1:]]
    positive = all(array is not None and bool((array >= 0).all()) for array in arrays)
    return positive and _as_its_first(node)


_RULES: Final[Mapping[str, Callable[[ir.Node], bool]]] = {
    "Add": _as_all,
    "AveragePool": _as_its_first,
    "Conv": _convolved,
    "DequantizeLinear": _dequantized,
    "GlobalAveragePool": _as_its_first,
    "LeakyRelu": is_flat,
    "MaxPool": _as_its_first,
    "Mul": _as_all,
    "Pad": _padded,
    "QuantizeLinear": _as_its_first,
    "ReduceMean": _as_its_first,
    "Relu": is_flat,
    "Reshape": _as_its_first,
    "Sigmoid": lambda _: True,
    "Transpose": _as_its_first,
}
