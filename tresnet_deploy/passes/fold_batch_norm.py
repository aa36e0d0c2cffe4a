"""Fold a BatchNormalization into the convolution before it.

before:  x -> Conv(W, b) -> BatchNormalization(gamma, beta, mean, var) {epsilon} -> y
after:   x -> Conv(W * s, (b - mean) * s + beta) -> y          s = gamma / sqrt(var + epsilon)

Computed in float64 and rounded once. Left alone: a norm after anything but a convolution, one whose
convolution has other readers (they want the values before the norm), weights that are computed, and
a norm in training mode.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome
from tresnet_deploy.passes import _graph

_EPSILON = 1e-5  # ONNX's default
_NORM_INPUTS = range(1, 5)


def apply(model: ir.Model) -> Outcome:
    """Fold every norm that can be folded, in place."""
    outcome = _graph.attempted(
        [node for node in model.graph if node.op_type == "BatchNormalization"], _fold
    )
    _graph.drop_unused(model)
    return outcome


def _fold(norm: ir.Node) -> str | None:
    """Fold ``norm``, or return why not."""
    conv = _graph.producer(norm.inputs[0], "Conv")
    if conv is None:
        return "no convolution comes before it"
    if _graph.integer(norm, "training_mode", 0):
        return "it is in training mode: its statistics depend on the batch"
    if _graph.sole_user(conv.outputs[0]) is not norm:
        return f"{_graph.name_of(conv)} has other readers"
    weight = _graph.constant(conv.inputs[1])
    statistics = [_graph.constant(norm.inputs[index]) for index in _NORM_INPUTS]
    gamma, beta, mean, variance = statistics
    if weight is None or gamma is None or beta is None or mean is None or variance is None:
        return "its weights or those of its convolution are computed"
    bias = _graph.constant(conv.inputs[2]) if _has_bias(conv) else np.zeros(len(weight))
    if bias is None:
        return "the bias of its convolution is computed"
    epsilon = _graph.number(norm, "epsilon", _EPSILON)
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + epsilon)
    folded_weight = weight * scale.reshape(-1, *[1] * (weight.ndim - 1))
    folded_bias = (bias - mean.astype(np.float64)) * scale + beta
    _rewrite(conv, norm, folded_weight.astype(weight.dtype), folded_bias.astype(weight.dtype))
    return None


def _has_bias(conv: ir.Node) -> bool:
    return len(conv.inputs) == len(("x", "weight", "bias")) and conv.inputs[2] is not None


def _rewrite(conv: ir.Node, norm: ir.Node, weight: Array, bias: Array) -> None:
    name = _graph.name_of(conv)
    _graph.set_constant(conv, 1, weight, name=f"{name}:weight")
    _graph.set_constant(conv, 2, bias, name=f"{name}:bias")
    _graph.replace_value(norm.outputs[0], conv.outputs[0])
    _graph.remove(norm)
