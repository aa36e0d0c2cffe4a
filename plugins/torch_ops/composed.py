"""What the custom ops compute, in torch's own operators: the CPU kernels, and the shapes.

Sources: the layers of ``tresnet.layers``; the gradient of a reflected border adds what the border
received to the pixel that it mirrors.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional as F

from ..blur_pool import BINOMIAL
from ..kernels.plans import check_blur, check_depth_to_space, check_space_to_depth

_ALL_SIDES: Final = (1, 1, 1, 1)  # pixels left, right, above and below
_KERNEL: Final = 3

Shape = tuple[int, ...]


def space_to_depth(x: Tensor, blocksize: int) -> Tensor:
    """(N, C, H, W) -> (N, b*b*C, H/b, W/b), always a copy."""
    b = blocksize
    result = empty(depth_shape(x, b), like=x)
    n, c, h, w = x.shape
    pixels = x.view(n, c, h // b, b, w // b, b)  # (N, C, H/b, row, W/b, column)
    blocks = result.view(n, b, b, c, h // b, w // b)
    blocks.copy_(pixels.permute(0, 3, 5, 1, 2, 4))  # (N, row, column, C, H/b, W/b)
    return result


def depth_to_space(x: Tensor, blocksize: int) -> Tensor:
    """(N, b*b*C, H, W) -> (N, C, H*b, W*b), always a copy."""
    b = blocksize
    result = empty(space_shape(x, b), like=x)
    n, _, h, w = x.shape
    c = result.shape[1]
    blocks = x.view(n, b, b, c, h, w)  # (N, row, column, C, H, W)
    pixels = result.view(n, c, h, b, w, b)
    pixels.copy_(blocks.permute(0, 3, 4, 1, 5, 2))  # (N, C, H, row, W, column)
    return result


def blur(x: Tensor, slope: float) -> Tensor:
    """(N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2))."""
    check_blur(x.shape)
    active = x if slope == 1 else F.leaky_relu(x, slope)
    padded = F.pad(active, _ALL_SIDES, mode="reflect")  # (N, C, H + 2, W + 2)
    blurred = F.conv2d(padded, _filter(x), stride=2, groups=x.shape[1])
    return blurred.contiguous(memory_format=format_of(x))


def blur_backward(
    gradient: Tensor, x: Tensor | None, height: int, width: int, slope: float
) -> Tensor:
    """(N, C, ceil(height/2), ceil(width/2)) -> (N, C, height, width)."""
    spread = F.conv_transpose2d(
        gradient,
        _filter(gradient),
        stride=2,
        output_padding=(1 - height % 2, 1 - width % 2),
        groups=gradient.shape[1],
    )  # (N, C, height + 2, width + 2)
    result = _folded_in(_folded_in(spread, 2), 3)
    if x is not None:
        result = torch.where(x > 0, result, result * slope)
    return result.contiguous(memory_format=format_of(gradient))


def _folded_in(spread: Tensor, axis: int) -> Tensor:
    """Add the first and the last of ``axis`` to the pixels that they mirror, and drop them."""
    size = spread.shape[axis] - 2
    inner = spread.narrow(axis, 1, size).clone()
    inner.select(axis, 1).add_(spread.select(axis, 0))
    inner.select(axis, size - 2).add_(spread.select(axis, size + 1))
    return inner


def _filter(like: Tensor) -> Tensor:
    line = torch.tensor(BINOMIAL, dtype=like.dtype, device=like.device)
    square = torch.outer(line, line) / line.sum() ** 2
    return square.expand(like.shape[1], 1, _KERNEL, _KERNEL)  # (C, 1, 3, 3)


def depth_shape(x: Tensor, blocksize: int) -> Shape:
    """Return the shape of the depth side of an image.

    Raises:
        UsageError: the image has no whole number of blocks.
    """
    check_space_to_depth(x.shape, blocksize)
    n, c, h, w = x.shape
    return n, blocksize * blocksize * c, h // blocksize, w // blocksize


def space_shape(x: Tensor, blocksize: int) -> Shape:
    """Return the shape of the image of a depth side.

    Raises:
        UsageError: its channels are no whole number of blocks.
    """
    check_depth_to_space(x.shape, blocksize)
    n, c, h, w = x.shape
    return n, c // (blocksize * blocksize), h * blocksize, w * blocksize


def blurred_shape(x: Tensor) -> Shape:
    """Return the shape of the blur of ``x``.

    Raises:
        UsageError: a side has fewer than two pixels.
    """
    check_blur(x.shape)
    n, c, h, w = x.shape
    return n, c, (h + 1) // 2, (w + 1) // 2


def empty(shape: Shape, *, like: Tensor) -> Tensor:
    """Return memory for a result: type and memory format are those of ``like``."""
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=format_of(like))


def format_of(x: Tensor) -> torch.memory_format:
    """Return channels last where only that describes ``x``, else contiguous."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format
