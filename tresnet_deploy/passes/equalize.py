"""Level the channels of activations that INT8 gives one step in common.

before:  Conv(W1, b1) -> LeakyRelu -> x -> Conv(W2, b2)
after:   Conv(s * W1, s * b1) -> LeakyRelu -> s * x -> Conv(W2 / s, b2)        s > 0, one a channel

LeakyRelu(s x) = s LeakyRelu(x) for every slope and s > 0, so nothing changes but the step of x: a
channel that is small beside its neighbours keeps its bits. The same holds through all operators
that ``_scaling`` lists: blur, pools, SE (its first convolution is divided as well, so its gate is
what it was) and residual additions, where all writers and readers of the sum share s.

``s`` is a power of two, which makes the rewritten graph equal to the bit in any float type. Without
rounding it is sqrt(w / r), where r is how far a channel of x reaches and w the largest share that a
column of W2 has in one of its rows (Nagel et al. 2019, arXiv 1906.04721; with r of images,
Xiao et al. 2022, arXiv 2211.10438). Without images r is estimated from the weights.
Left alone: groups of tensors that belong to inputs, outputs or operators which do not scale with
them (Sigmoid, Softmax, Clip, the addition of a constant, Q/DQ pairs), and weights that the factors
would carry out of the range of their type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome, Refusal
from tresnet_deploy.passes import _graph, _reach
from tresnet_deploy.passes._scaling import ScaleGroup, scale_groups

_ROUNDS: Final = 8  # leveling one group shifts the shares of the next; two or three are enough
_MOST: Final = 16  # bits: beyond it a channel was as good as silent on the images
_DEAD_ZONE: Final = 0.75  # of a bit: what rounding left is no reason to begin again

Exponents = npt.NDArray[np.int64]
Reach = Mapping[str, Array]
"""The largest absolute value of each channel, (C,), by the name of the tensor."""


def apply(model: ir.Model) -> Outcome:
    """Level every group by its weights alone, in place."""
    return equalize(model, None)


def equalize(model: ir.Model, reach: Reach | None) -> Outcome:
    """Level every group that can be, in place, by what its tensors ``reach`` on images.

    ``reach`` needs the tensors that :func:`watched` names; None: estimate it from the weights.
    """
    groups = scale_groups(model.graph)
    left = [Refusal(match=group.name, reason=group.pin) for group in groups if group.pin]
    open_groups = [group for group in groups if not group.pin and _decisive(group)]
    found = _reach.estimated(model.graph) if reach is None else reach
    total = {id(group): np.zeros(group.channels, np.int64) for group in open_groups}
    scaled = dict(found)
    for _ in range(_ROUNDS):
        moved = False
        for group in open_groups:
            exponents = _exponents(group, scaled, total[id(group)])
            if not exponents.any():
                continue
            reason = _scale(group, exponents)
            if reason is not None:
                left.append(Refusal(match=group.name, reason=reason))
                continue
            moved = True
            total[id(group)] += exponents
            for name in _names(group):
                scaled[name] = np.ldexp(scaled[name], exponents)
        if not moved:
            break
    changed = sum(bool(steps.any()) for steps in total.values())
    return Outcome(changed=changed, left=tuple(dict.fromkeys(left)))


def watched(model: ir.Model) -> tuple[str, ...]:
    """Return the tensors whose reach decides: those that the open groups' convolutions read."""
    names = [name for group in scale_groups(model.graph) if not group.pin for name in _names(group)]
    return tuple(dict.fromkeys(names))


def _decisive(group: ScaleGroup) -> tuple[ir.Node, ...]:
    """Return the readers that may compute in INT8: not those of one pixel, SE and the head."""
    return tuple(node for node in group.readers if not _is_pooled(node.inputs[0]))


def _is_pooled(value: ir.Value | None) -> bool:
    shape = None if value is None else value.shape
    return shape is not None and all(side == 1 for side in shape[2:])


def _names(group: ScaleGroup) -> tuple[str, ...]:
    names = (node.inputs[0].name for node in _decisive(group) if node.inputs[0] is not None)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def _exponents(group: ScaleGroup, reach: Reach, before: Exponents) -> Exponents:
    """Return log2 of the factors; the largest reach of a channel stays about what it was."""
    reaches = np.max([reach[name] for name in _names(group)], axis=0).astype(np.float64)
    shares = np.max([_shares(node) for node in _decisive(group)], axis=0)
    live = (reaches > 0) & (shares > 0)
    if not live.any():
        return np.zeros(group.channels, np.int64)
    wanted = np.zeros(group.channels)
    wanted[live] = (np.log2(shares[live]) - np.log2(reaches[live])) / 2
    after = np.log2(reaches[live]) + wanted[live]
    wanted[live] -= np.rint(after.max() - np.log2(reaches[live].max()))
    wanted = np.where(live, np.clip(wanted + before, -_MOST, _MOST) - before, 0.0)
    steps = np.where(np.abs(wanted) < _DEAD_ZONE, 0, np.rint(wanted))
    return np.asarray(steps, np.int64)


def _shares(reader: ir.Node) -> Array:
    """Return, for each input channel, its largest weight over the largest of the same row."""
    array = np.abs(_weight(reader).astype(np.float64))
    array = array.max(axis=tuple(range(2, array.ndim))) if array.ndim > 2 else array  # noqa: PLR2004
    rows = array if _rows_first(reader) else array.T  # (out, in)
    largest = rows.max(axis=1, keepdims=True)
    return np.asarray((rows / np.where(largest > 0, largest, 1)).max(axis=0))


def _scale(group: ScaleGroup, exponents: Exponents) -> str | None:
    """Multiply what the group's layers write and divide what they read, or return why not."""
    changes: list[tuple[ir.Node, int, Array]] = []
    for node in group.writers:
        axis = 0 if _rows_first(node) else 1
        changes += _scaled_inputs(node, ((1, axis), (2, -1)), exponents)
    for node in group.filters:
        changes += _scaled_inputs(node, ((2, -1),), exponents)
    held = {(id(node), index): array for node, index, array in changes}
    for node in group.readers:
        axis = 1 if _rows_first(node) else 0
        array = held.get((id(node), 1), _weight(node))  # a layer may read and write one group
        changes.append((node, 1, _along(array, axis, -exponents)))
    for node, index, array in changes:
        if not _same_bits(array, node, index):
            return f"its factors would take weights of {_graph.name_of(node)} out of range"
    for node, index, array in changes:
        _graph.set_constant(node, index, array, name=f"{_graph.name_of(node)}:in{index}")
    return None


def _scaled_inputs(
    node: ir.Node, inputs: Sequence[tuple[int, int]], exponents: Exponents
) -> list[tuple[ir.Node, int, Array]]:
    found = []
    for index, axis in inputs:
        array = _graph.constant(node.inputs[index]) if index < len(node.inputs) else None
        if array is not None:
            if axis == -1:
                array = np.broadcast_to(array.reshape(-1), (len(exponents),))
            found.append((node, index, _along(array, axis, exponents)))
    return found


def _along(array: Array, axis: int, exponents: Exponents) -> Array:
    shape = [1] * array.ndim
    shape[axis] = -1
    return np.asarray(np.ldexp(array, exponents.reshape(shape)), array.dtype)


def _same_bits(array: Array, node: ir.Node, index: int) -> bool:
    """Whether no value overflowed or lost bits below the smallest normal number."""
    before = _graph.constant(node.inputs[index])
    assert before is not None
    smallest = np.finfo(array.dtype).tiny
    lost = (
        (np.abs(array) < smallest)
        & (array.size == before.size)
        & (before.reshape(array.shape) != 0)
    )
    return bool(np.isfinite(array).all() and not lost.any())


def _rows_first(node: ir.Node) -> bool:
    """Whether axis 0 of a layer's weights counts its outputs."""
    return node.op_type == "Conv" or bool(_graph.integer(node, "transB", 0))


def _weight(node: ir.Node) -> Array:
    array = _graph.constant(node.inputs[1])
    assert array is not None
    return array
