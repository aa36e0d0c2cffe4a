"""The second moments of what each quantised layer reads: H = mean of x x^T, by one pass.

    x of a convolution is one patch of its input, (channels x kernel) long, and each output pixel
    has one; x of a matrix product is one row.

Early layers have thousands of patches an image, late ones a few: of each image at most as many are
taken as give ``_PATCHES`` in all, drawn by a seed. x is in steps of the input's own scale, which
changes no rounding and keeps every square small.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from tresnet_deploy.calibration import Data, filled
from tresnet_deploy.contracts import Array, Batch, Progress, Session, no_progress, run

_PATCHES: Final = 8192  # of a layer: more than TResNet's longest patch has numbers, 5,976
_AT_ONCE: Final = 2  # images

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """How a layer reads the tensor called ``source``, whose step is ``scale``.

    ``kernel`` is () for a matrix product; ``pads`` are top, left, bottom and right.
    """

    source: str
    scale: float
    length: int
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    dilations: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)

    def patches(self, values: Array, most: int, rng: np.random.Generator) -> Array:
        """Return at most ``most`` patches (P, length) of one image's ``values``, by ``rng``."""
        if not self.kernel:
            rows = values.reshape(-1, self.length)
            return np.asarray(rows[_drawn(len(rows), most, rng)])
        top, left, bottom, right = self.pads
        padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))  # (C, H, W)
        reach = [d * (k - 1) + 1 for d, k in zip(self.dilations, self.kernel, strict=True)]
        height, width = (
            (size - far) // stride + 1
            for size, far, stride in zip(padded.shape[1:], reach, self.strides, strict=True)
        )
        row, column = np.divmod(_drawn(height * width, most, rng), width)
        rows, columns = (
            start[:, None] * stride + dilation * np.arange(kernel)
            for start, stride, dilation, kernel in zip(
                (row, column), self.strides, self.dilations, self.kernel, strict=True
            )
        )
        taken = padded[:, rows[:, :, None], columns[:, None, :]]  # (C, P, kh, kw)
        return np.asarray(np.moveaxis(taken, 1, 0).reshape(len(row), self.length))


def reader(layer: ir.Node) -> Reader | str:
    """Return how the quantised ``layer`` reads its input, or why it is not looked into."""
    source, scale = _required(layer.inputs[0]), _dequantize(layer, 0).inputs[1]
    shape = _constant(_dequantize(layer, 1).inputs[0]).shape
    assert source.name is not None
    attributes = layer.attributes
    if layer.op_type != "Conv":
        if attributes.get_int("transA", 0) or attributes.get_float("alpha", 1.0) != 1:
            return "its input is transposed or scaled"
        return Reader(
            source=source.name,
            scale=float(_constant(scale)),
            length=shape[1 if attributes.get_int("transB", 0) else 0],
        )
    if attributes.get_int("group", 1) != 1:
        return "it is grouped: few weights an output, and little that one could make good"
    if attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return "its padding is left to the runtime"
    return Reader(
        source=source.name,
        scale=float(_constant(scale)),
        length=math.prod(shape[1:]),
        kernel=shape[2:],
        strides=tuple(attributes.get_ints("strides", (1, 1)) or ()),
        dilations=tuple(attributes.get_ints("dilations", (1, 1)) or ()),
        pads=tuple(attributes.get_ints("pads", (0, 0, 0, 0)) or ()),
    )


def moments(
    open_session: Callable[[Sequence[str]], Session],
    readers: Mapping[str, Reader],
    data: Data,
    *,
    seed: int,
    batch: Batch | None = None,
    progress: Progress = no_progress,
) -> dict[str, Matrix]:
    """Return H (length, length) of each of ``readers``."""
    wanted = [each.source for each in readers.values()]
    sums = {name: np.zeros((each.length, each.length)) for name, each in readers.items()}
    counts = dict.fromkeys(readers, 0)
    most = math.ceil(_PATCHES / len(data))
    size = max(batch.min, min(batch.max, _AT_ONCE)) if batch else _AT_ONCE
    seen = 0
    with closing(open_session(wanted)) as session:
        (spec,) = session.inputs
        for portion in data.portions(size, progress=progress):
            array = filled(portion.array, size if batch and batch.fixed else 0)
            found = run(session, {spec.name: array})
            for name, each in readers.items():
                values = found[each.source]
                # ML-Decoder's queries are the same for all images, and there once.
                for number in range(min(len(portion.array), len(values))):
                    rng = np.random.default_rng((seed, seen + number))
                    patches = each.patches(values[number], most, rng) / np.float32(each.scale)
                    sums[name] += patches.T @ patches
                    counts[name] += len(patches)
            seen += len(portion.array)
    return {name: total / counts[name] for name, total in sums.items()}


def _drawn(count: int, most: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    return np.arange(count) if count <= most else rng.choice(count, most, replace=False)


def _dequantize(layer: ir.Node, index: int) -> ir.Node:
    node = _required(layer.inputs[index]).producer()
    assert node is not None
    return node


def _required(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value


def _constant(value: ir.Value | None) -> Array:
    held = _required(value).const_value
    assert held is not None
    return np.asarray(held.numpy())
