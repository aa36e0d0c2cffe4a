"""Round odd channel counts up by channels that stay zero.

before:  x -> Conv(W: 76, i, 3, 3) -> LeakyRelu -> Conv(V: o, 76, 3, 3) -> y
after:   x -> Conv([W; 0]: 80, i, 3, 3) -> LeakyRelu -> Conv([V 0]: o, 80, 3, 3) -> y

Matrix instructions work on whole blocks of channels, so TResNet-L's 76 and its multiples leave
part of each block empty or fall into slower remainder loops. A new channel is 0 after its
convolution and finite everywhere else, and every layer that reads it multiplies it by 0: the
outputs do not change. Left alone: widths that belong to inputs or outputs, and those that pass
through an operator which mixes channels in another way.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome, Refusal
from tresnet_deploy.passes import _graph
from tresnet_deploy.passes._channels import Groups, find_groups, is_dense, is_depthwise, width_of

MULTIPLE: Final = 32  # the multiple that AMX's tiles want; see pays_on
_AMX: Final = "AMX int8"

Widths = Mapping[ir.Value, int]


def pays_on(instructions: Collection[str]) -> tuple[bool, str]:
    """Return whether an INT8 graph gains on a CPU with these ``instructions``, and the evidence.

    The names are those of ``environment.instructions``. Float graphs never gained.
    """
    if _AMX in instructions:
        return True, "INT8 TResNet-L ran 2 to 9 % faster on AMX (OpenVINO)"
    return (
        False,
        "INT8 TResNet-L ran 7 to 11 % slower on AVX-512 VNNI without AMX (bench/passes.py)",
    )


def apply(model: ir.Model) -> Outcome:
    """Widen every group of channels to a multiple of ``MULTIPLE``, in place."""
    return widen(model, MULTIPLE)


def widen(model: ir.Model, multiple: int) -> Outcome:
    """Widen every group of channels to a multiple of ``multiple``, in place."""
    groups = find_groups(model.graph)
    layers = [node for node in model.graph if is_dense(node) or is_depthwise(node)]
    tensors = [value for node in layers for value in (node.inputs[0], node.outputs[0]) if value]
    widths: dict[ir.Value, int] = {}
    left = []
    for root in dict.fromkeys(groups.root(value) for value in tensors):
        width = width_of(root)
        if width is None or width % multiple == 0:
            continue
        if root in groups.pins:
            left.append(Refusal(match=f"{root.name}: {width}", reason=groups.pins[root]))
        else:
            widths[root] = -(-width // multiple) * multiple
    for node in list(model.graph):
        _widen_node(node, groups, widths)
    for value in list(groups.parents):
        _widen_shape(value, widths.get(groups.root(value)))
    _graph.drop_unused(model)
    return Outcome(changed=len(widths), left=tuple(left))


def _widen_node(node: ir.Node, groups: Groups, widths: Widths) -> None:
    """Give the weights of ``node`` the zeros that its input and output groups ask for."""
    source = node.inputs[0] if node.inputs else None
    read = None if source is None else widths.get(groups.root(source))
    written = widths.get(groups.root(node.outputs[0]))
    name = _graph.name_of(node)
    if node.op_type == "BlurPool2d" or is_depthwise(node):
        if written is not None:
            _pad_inputs(node, {1: (0, written), 2: (0, written)}, name)
            node.attributes["group"] = ir.AttrInt64("group", written)
    elif is_dense(node):
        transposed = node.op_type == "Conv" or _graph.integer(node, "transB", 0)
        out_axis, in_axis = (0, 1) if transposed else (1, 0)
        if written is not None:
            _pad_inputs(node, {1: (out_axis, written), 2: (-1, written)}, name)
        if read is not None:
            _pad_inputs(node, {1: (in_axis, read)}, name)


def _pad_inputs(node: ir.Node, wanted: Mapping[int, tuple[int, int]], name: str) -> None:
    """Append zeros to constant inputs: index -> (axis, size)."""
    for index, (axis, size) in wanted.items():
        array = _graph.constant(node.inputs[index]) if index < len(node.inputs) else None
        if array is not None:
            _graph.set_constant(node, index, _grown(array, axis, size), name=f"{name}:in{index}")


def _grown(array: Array, axis: int, size: int) -> Array:
    missing = [(0, 0)] * array.ndim
    missing[axis] = (0, size - array.shape[axis])
    return np.pad(array, missing)


def _widen_shape(value: ir.Value, width: int | None) -> None:
    if width is not None and value.shape is not None:
        batch, _, *sides = value.shape
        value.shape = ir.Shape([batch, width, *sides])
