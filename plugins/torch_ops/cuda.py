"""The custom ops on a GPU: this file is about handing torch's tensors to the kernels.

Not run on a GPU yet; the tests run the same code with the kernels compiled for the CPU. Types that
the kernels do not know (float64, which gradients are checked in) take torch's own operators.
"""

from __future__ import annotations

from typing import Final, Protocol

import torch
from torch import Tensor

from ..kernels import driver, plans
from . import composed

_ELEMENTS: Final[dict[torch.dtype, plans.ElementType]] = {
    torch.float32: "float32",
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
}
_MOVED_BYTES: Final = (1, 2, 4)
_ALIGNMENT: Final = 16  # bytes, what vector loads want; torch's allocator gives 512

Shape4 = tuple[int, int, int, int]


class Launcher(Protocol):
    """Runs a plan over the memory of tensors: inputs (None is a null pointer), then the output."""

    def __call__(self, plan: plans.Launch[int], tensors: tuple[Tensor | None, ...], /) -> None:
        """Queue the kernel."""


def on_stream(plan: plans.Launch[int], tensors: tuple[Tensor | None, ...], /) -> None:
    """Queue ``plan`` on torch's current stream of the output's GPU."""
    output = tensors[-1]
    assert output is not None
    with torch.cuda.device(output.device):
        stream = torch.cuda.current_stream().cuda_stream
        ordinal = torch.cuda.current_device()
        driver.launch(plan, pointers_of(tensors), stream=stream, ordinal=ordinal)


def pointers_of(tensors: tuple[Tensor | None, ...]) -> list[int]:
    """Return the addresses of the tensors' memory, 0 for None."""
    return [0 if tensor is None else tensor.data_ptr() for tensor in tensors]


def space_to_depth(x: Tensor, blocksize: int, *, run: Launcher = on_stream) -> Tensor:
    """(N, C, H, W) -> (N, b*b*C, H/b, W/b)."""
    if x.element_size() not in _MOVED_BYTES or not x.numel():
        return composed.space_to_depth(x, blocksize)
    result = composed.empty(composed.depth_shape(x, blocksize), like=x)
    run(_move(x.shape, x, blocksize, inverse=False), (_dense(x), result))
    return result


def depth_to_space(x: Tensor, blocksize: int, *, run: Launcher = on_stream) -> Tensor:
    """(N, b*b*C, H, W) -> (N, C, H*b, W*b)."""
    if x.element_size() not in _MOVED_BYTES or not x.numel():
        return composed.depth_to_space(x, blocksize)
    result = composed.empty(composed.space_shape(x, blocksize), like=x)
    run(_move(result.shape, x, blocksize, inverse=True), (_dense(x), result))
    return result


def _move(image: torch.Size, x: Tensor, blocksize: int, *, inverse: bool) -> plans.Launch[int]:
    shape, size = _four(image), x.element_size()
    if composed.format_of(x) == torch.channels_last:
        return plans.space_to_depth_nhwc(
            shape, element_bytes=size, blocksize=blocksize, inverse=inverse
        )
    pack = plans.space_to_depth_pack(blocksize, shape[3])
    return plans.space_to_depth(
        shape, element_bytes=size, blocksize=blocksize, pack=pack, inverse=inverse
    )


def blur(x: Tensor, slope: float, *, run: Launcher = on_stream) -> Tensor:
    """(N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2))."""
    element = _ELEMENTS.get(x.dtype)
    if element is None or not x.numel():
        return composed.blur(x, slope)
    result = composed.empty(composed.blurred_shape(x), like=x)
    shape, layout = _four(x.shape), _layout(x)
    pack = plans.blur_pack(layout, element, shape[3] if layout == "nchw" else shape[1])
    plan = plans.blur_pool(shape, element, layout=layout, pack=pack, slope=slope)
    run(plan, (_dense(x), None, result))
    return result


def blur_backward(
    gradient: Tensor,
    x: Tensor | None,
    height: int,
    width: int,
    slope: float,
    *,
    run: Launcher = on_stream,
) -> Tensor:
    """(N, C, ceil(height/2), ceil(width/2)) -> (N, C, height, width)."""
    element = _ELEMENTS.get(gradient.dtype)
    if element is None or not gradient.numel():
        return composed.blur_backward(gradient, x, height, width, slope)
    n, c = gradient.shape[:2]
    result = composed.empty((n, c, height, width), like=gradient)
    layout = _layout(gradient)
    plan = plans.blur_pool_backward((n, c, height, width), element, layout=layout, slope=slope)
    # The kernel walks x as it walks its result.
    read = None if x is None else x.contiguous(memory_format=composed.format_of(gradient))
    run(plan, (_dense(gradient), read, result))
    return result


def _layout(x: Tensor) -> plans.MemoryLayout:
    return "nhwc" if composed.format_of(x) == torch.channels_last else "nchw"


def _dense(x: Tensor) -> Tensor:
    """Return ``x`` without gaps, at an address that vector loads can start from."""
    x = x.contiguous(memory_format=composed.format_of(x))
    if x.data_ptr() % _ALIGNMENT:
        return x.clone(memory_format=composed.format_of(x))
    return x


def _four(shape: torch.Size) -> Shape4:
    n, c, h, w = shape
    return n, c, h, w
