"""Rounding the weights of a Q/DQ graph by what its layers read, layer by layer.

before:  x -> Q -> DQ -> Conv(DQ(nearest(W / s), s), b) -> y
after:   x -> Q -> DQ -> Conv(DQ(gptq(W / s), s), b) -> y          the same steps, other integers

Layers are taken in the order of the graph, as many in one pass over the images as have second
moments that fit into memory together; what those before them were rounded to, later passes see.
Grouped convolutions keep the nearest integers, each with a reason.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.calibration import Data
from tresnet_deploy.contracts import Array, Batch, Progress, Refusal, Session, no_progress
from tresnet_deploy.precision.grids import Grid
from tresnet_deploy.precision.layers import weight
from tresnet_deploy.precision.pairs import channel_axis
from tresnet_deploy.quantize.gptq import gptq
from tresnet_deploy.quantize.second_moments import Reader, moments, reader

_MOMENTS_BYTES: Final = 2**29  # held together; the largest of TResNet-XL takes 270 MiB alone
_DOUBLE_BYTES: Final = 8
_LAYERS: Final = ("Conv", "Gemm", "MatMul")
_INPUTS: Final = 2  # that are quantised: the activation and the weights

OpenSession = Callable[[ir.Model, Sequence[str]], Session]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstructed:
    """One layer: what part of its output's power is error, on the images, before and after."""

    layer: str
    before: float
    after: float
    damping: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconstruction:
    """What was rounded anew, and one reason for each layer that was left alone."""

    layers: tuple[Reconstructed, ...]
    left: tuple[Refusal, ...] = ()

    @property
    def changed(self) -> int:
        """The number of layers."""
        return len(self.layers)

    @property
    def remaining(self) -> float:
        """What of the layers' error remains: the geometric mean of after / before."""
        ratios = [each.after / each.before for each in self.layers if each.after > 0]
        return float(np.exp(np.mean(np.log(ratios)))) if ratios else 1.0


def reconstruct(
    reference: ir.Model,
    quantized: ir.Model,
    open_session: OpenSession,
    data: Data,
    *,
    grid: Grid,
    seed: int = 0,
    batch: Batch | None = None,
    progress: Progress = no_progress,
) -> Reconstruction:
    """Round the weights of ``quantized`` anew in place, by GPTQ on ``data``.

    ``reference`` is the float graph that the pairs were inserted into. Of each image a few patches
    are drawn by ``seed``.

    Raises:
        ImageError: no image is readable, or one is not and the data is strict.
    """
    originals = {_result(node): node for node in reference.graph if node.op_type in _LAYERS}
    found = {_result(node): (node, reader(node)) for node in quantized.graph if _quantised(node)}
    readers = {name: how for name, (_, how) in found.items() if isinstance(how, Reader)}
    left = [
        Refusal(match=_named(node), reason=how)
        for node, how in found.values()
        if isinstance(how, str)
    ]
    done: list[Reconstructed] = []
    for group in _groups(readers):
        opened = functools.partial(open_session, quantized)
        held = moments(opened, group, data, seed=seed, batch=batch, progress=progress)
        for name in group:
            progress(len(done), len(readers), "layers rounded")
            layer, _ = found[name]
            original = weight(originals[name])
            made = _round(layer, original, held.pop(name), grid)
            if made is None:
                left.append(
                    Refusal(match=_named(layer), reason="its inputs have no second moments")
                )
            else:
                done.append(made)
    return Reconstruction(layers=tuple(done), left=tuple(left))


def _result(node: ir.Node) -> str:
    """Return the name that both graphs have for what ``node`` makes."""
    name = node.outputs[0].name
    assert name is not None
    return name


def _named(node: ir.Node) -> str:
    return node.name or _result(node)


def _quantised(node: ir.Node) -> bool:
    if node.op_type not in _LAYERS:
        return False
    makers = [value.producer() if value is not None else None for value in node.inputs[:_INPUTS]]
    return all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)


def _groups(readers: Mapping[str, Reader]) -> Iterator[dict[str, Reader]]:
    """Give the layers in order, in groups whose moments fit into memory together."""
    group: dict[str, Reader] = {}
    free = _MOMENTS_BYTES
    for name, each in readers.items():
        needed = _DOUBLE_BYTES * each.length**2
        if group and needed > free:
            yield group
            group, free = {}, _MOMENTS_BYTES
        group[name] = each
        free -= needed
    if group:
        yield group


def _round(layer: ir.Node, original: ir.Value, moment: Array, grid: Grid) -> Reconstructed | None:
    """Round the weights of ``layer``; None, and nothing changed, where ``moment`` is useless."""
    source = layer.inputs[1]
    node = source.producer() if source is not None else None
    assert node is not None
    integers, steps = node.inputs[:_INPUTS]
    assert integers is not None
    assert original.const_value is not None
    axis = channel_axis(layer)
    moved = np.moveaxis(original.const_value.numpy(), axis, 0)  # (C, ...)
    rows = moved.reshape(len(moved), -1).astype(np.float64)
    assert steps is not None
    assert steps.const_value is not None
    found = gptq(rows, steps.const_value.numpy().astype(np.float64), moment, grid)
    if found is None:
        return None
    array = np.moveaxis(found.numbers.reshape(moved.shape), 0, axis)
    integers.const_value = ir.tensor(np.ascontiguousarray(array), name=integers.name)
    return Reconstructed(
        layer=_named(layer), before=found.nearest, after=found.error, damping=found.damping
    )
