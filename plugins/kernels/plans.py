"""Launch plans: this file is about which kernel serves a tensor, and what it is called with.

A plan is made from sizes that are integers, or from TensorRT's symbolic sizes, which know ``+``,
``*`` and ``//`` only. Shapes are always written (N, C, H, W), whatever the layout in memory.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, Protocol, Self, TypeVar

from tresnet_deploy.errors import UsageError

from . import Source

MemoryLayout = Literal["nchw", "nhwc"]
ElementType = Literal["float32", "float16", "bfloat16", "int8"]

THREADS: Final = 256
"""Threads of a block: a multiple of the warp that leaves registers for full occupancy."""

ELEMENT_BYTES: Final[dict[ElementType, int]] = {
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int8": 1,
}
BLOCK_SIZES: Final = (2, 4)
"""Block sizes that SpaceToDepth has kernels for; TResNet's is 4."""

_MOST_ITEMS: Final = 2**31 - 1  # the kernels count in 32 bits
_AXES: Final = 4
_SMALLEST_SIDE: Final = 2  # a map of one row has no second row to reflect
_WIDEST_LOAD: Final = 16  # bytes, as in portable.cuh
_WORDS: Final = (16, 8, 4, 2, 1)  # bytes that one thread moves
_ROW_PACKS: Final = (4, 2)  # outputs a thread makes of a row; each needs two columns


class Size(Protocol):
    """An integer, or a ``tensorrt.plugin.ShapeExpr``."""

    def __add__(self, other: int, /) -> Self:
        """Return the sum."""

    def __mul__(self, other: Self | int, /) -> Self:
        """Return the product."""

    def __floordiv__(self, other: int, /) -> Self:
        """Return the quotient, rounded down."""


S = TypeVar("S", bound=Size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Generic[S]):
    """One kernel over ``items`` work items, one a thread.

    It is called with pointers to ``inputs`` tensors, then ``scalars`` as 32-bit integers, then the
    pointer to the output; all pointers are multiples of 16.
    """

    source: Source
    kernel: str
    inputs: int
    items: S
    scalars: tuple[S | int, ...]


def blur_pack(layout: MemoryLayout, element: ElementType, innermost: int | None) -> int:
    """Return how many outputs a thread of the blur makes.

    ``innermost`` is the width in NCHW, the pitch of a pixel in NHWC; None where it is not known
    when the engine is built, which leaves single outputs.
    """
    if layout == "nchw":
        packs: tuple[int, ...] = _ROW_PACKS
        step = 2
    else:
        packs = (_WIDEST_LOAD // ELEMENT_BYTES[element],)
        step = 1
    return next((p for p in packs if innermost is not None and innermost % (step * p) == 0), 1)


def blur_pool(
    shape: tuple[S, S, S, S],
    element: ElementType,
    *,
    layout: MemoryLayout = "nchw",
    pack: int = 1,
    pitch: S | None = None,
    slope: float = 1.0,
    ratio: float = 1.0,
) -> Launch[S]:
    """Plan the blur of a map of ``shape``: inputs x and filter, output y.

    Args:
        shape: of the input.
        element: of input and output.
        layout: in memory, of both.
        pack: what ``blur_pack`` says.
        pitch: elements from one pixel to the next in NHWC; C unless given.
        slope: of the leaky ReLU before the blur; 1 for none.
        ratio: of INT8 maps, scale of the input / scale of the output.
    """
    n, c, h, w = shape
    rows, columns = (h + 1) // 2, (w + 1) // 2
    bits = (float_bits(slope), float_bits(ratio))
    scalars: tuple[S | int, ...]
    if layout == "nchw":
        items = n * c * rows * (columns // pack)
        scalars = (items, h, w, *bits)
    else:
        pitch = c if pitch is None else pitch
        items = n * rows * columns * (pitch // pack)
        scalars = (items, h, w, pitch, *bits)
    kernel = f"blur_pool_{layout}_{element}_v{pack}"
    return Launch(source="blur_pool", kernel=kernel, inputs=2, items=items, scalars=scalars)


def blur_pool_backward(
    shape: tuple[int, int, int, int],
    element: ElementType,
    *,
    layout: MemoryLayout = "nchw",
    slope: float = 1.0,
) -> Launch[int]:
    """Plan the gradient of the blur's input, of ``shape``: inputs gradient of y, and x or null."""
    n, c, h, w = shape
    items = n * c * h * w
    kernel = f"blur_pool_backward_{layout}_{element}"
    scalars = (items, c, h, w, float_bits(slope))
    return Launch(source="blur_pool", kernel=kernel, inputs=2, items=items, scalars=scalars)


def space_to_depth(
    shape: tuple[S, S, S, S],
    *,
    element_bytes: int,
    blocksize: int = 4,
    pack: int = 1,
    inverse: bool = False,
) -> Launch[S]:
    """Plan SpaceToDepth of an NCHW image of ``shape``, or from its depth side back to it.

    ``pack`` may be 4 where W / blocksize is a multiple of 4.
    """
    n, c, h, w = shape
    items = n * c * h * (w // (blocksize * pack))
    way = "depth_to_space" if inverse else "space_to_depth"
    kernel = f"{way}_nchw_{element_bytes}byte_b{blocksize}_v{pack}"
    scalars = (items, c, h, w)
    return Launch(source="space_to_depth", kernel=kernel, inputs=1, items=items, scalars=scalars)


def space_to_depth_pack(blocksize: int, width: int | None) -> int:
    """Return how many blocks of a row one thread moves."""
    widest = max(_ROW_PACKS)
    return widest if width is not None and width % (blocksize * widest) == 0 else 1


def space_to_depth_nhwc(
    shape: tuple[int, int, int, int],
    *,
    element_bytes: int,
    blocksize: int = 4,
    inverse: bool = False,
) -> Launch[int]:
    """Plan the same for an NHWC image without padding between pixels."""
    n, c, h, w = shape
    run_bytes = blocksize * c * element_bytes
    word = next(word for word in _WORDS if run_bytes % word == 0)
    items = n * h * w * c * element_bytes // word
    way = "depth_to_space" if inverse else "space_to_depth"
    return Launch(
        source="space_to_depth",
        kernel=f"{way}_nhwc_{word}byte",
        inputs=1,
        items=items,
        scalars=(items, w // blocksize, blocksize, run_bytes // word),
    )


def check_blur(shape: Sequence[int]) -> None:
    """Refuse a map that the blur cannot take.

    Raises:
        UsageError: it is no (N, C, H, W), or a side has fewer than 2 pixels: nothing to reflect.
    """
    _check_axes("BlurPool2d", shape)
    h, w = shape[2:]
    if min(h, w) < _SMALLEST_SIDE:
        raise UsageError(
            f"BlurPool2d reflects a map by one pixel, so height and width must be "
            f"{_SMALLEST_SIDE} or more, not {h}x{w}"
        )


def check_space_to_depth(shape: Sequence[int], blocksize: int) -> None:
    """Refuse an image that SpaceToDepth cannot take.

    Raises:
        UsageError: it is no (N, C, H, W), its sides are no multiples of the block, or no kernel has
            that block.
    """
    _check_axes("SpaceToDepth", shape)
    _check_block("SpaceToDepth", blocksize)
    h, w = shape[2:]
    if h % blocksize or w % blocksize:
        raise UsageError(
            f"SpaceToDepth needs a height and a width that are multiples of {blocksize}, not "
            f"{h}x{w}"
        )


def check_depth_to_space(shape: Sequence[int], blocksize: int) -> None:
    """Refuse a map that DepthToSpace cannot take.

    Raises:
        UsageError: it is no (N, C, H, W), its channels are no blocks, or no kernel has that block.
    """
    _check_axes("DepthToSpace", shape)
    _check_block("DepthToSpace", blocksize)
    if shape[1] % blocksize**2:
        raise UsageError(
            f"DepthToSpace needs a number of channels that is a multiple of {blocksize**2}, not "
            f"{shape[1]}"
        )


def _check_axes(operator: str, shape: Sequence[int]) -> None:
    if len(shape) != _AXES:
        raise UsageError(f"{operator} takes a map (N, C, H, W), not one of shape {tuple(shape)}")


def _check_block(operator: str, blocksize: int) -> None:
    if blocksize not in BLOCK_SIZES:
        raise UsageError(f"{operator} has kernels for blocks of 2 and 4, not of {blocksize}")


def blocks_of(launch: Launch[int]) -> int:
    """Return the size of the grid.

    Raises:
        UsageError: the tensor is empty, or too large to count its parts in 32 bits.
    """
    if not 0 < launch.items <= _MOST_ITEMS:
        raise UsageError(
            f"{launch.kernel} takes 1 to {_MOST_ITEMS} work items, not {launch.items}: split the "
            "batch"
        )
    return -(-launch.items // THREADS)


def arguments_of(
    launch: Launch[int], pointers: Sequence[int]
) -> tuple[ctypes.Array[ctypes.c_void_p], tuple[object, ...]]:
    """Return what cuLaunchKernel calls kernelParams, and the values that it points at.

    ``pointers`` are those of the inputs and then the output; the caller keeps the values alive.
    """
    assert len(pointers) == launch.inputs + 1
    inputs = [ctypes.c_void_p(pointer) for pointer in pointers[:-1]]
    scalars = [ctypes.c_int32(scalar) for scalar in launch.scalars]
    values = (*inputs, *scalars, ctypes.c_void_p(pointers[-1]))
    addresses = [ctypes.addressof(value) for value in values]
    return (ctypes.c_void_p * len(values))(*addresses), values


def float_bits(value: float) -> int:
    """Return the bits of ``value`` as float32, read as a signed integer."""
    bits: int = struct.unpack("<i", struct.pack("<f", value))[0]
    return bits
