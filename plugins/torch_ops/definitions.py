"""The custom ops of the domain ``tresnet``: this file is about what torch is told of them.

Each has a CPU kernel of torch's own operators, a CUDA kernel (``cuda``, not run on a GPU yet), a
meta kernel for tracing, and a gradient that is an op too. They compile without a graph break;
results keep the memory format of their input (channels last stays channels last).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor

from .. import DOMAIN
from . import composed, cuda

if TYPE_CHECKING:
    from torch._library.custom_ops import CustomOpDef  # torch.library gives it no name

_MOVE: Final = "(Tensor x, int blocksize) -> Tensor"
_BLUR: Final = "(Tensor x, float slope) -> Tensor"
_BLUR_BACKWARD: Final = (
    "(Tensor gradient, Tensor? x, SymInt height, SymInt width, float slope) -> Tensor"
)


@dataclass(frozen=True, slots=True)
class Operators:
    """The registered ops, as functions."""

    space_to_depth: Callable[[Tensor, int], Tensor]
    """(N, C, H, W), blocksize 2 or 4 -> (N, b*b*C, H/b, W/b)."""
    depth_to_space: Callable[[Tensor, int], Tensor]
    """The inverse, which is also the gradient."""
    blur_pool2d: Callable[[Tensor, float], Tensor]
    """(N, C, H, W), slope -> (N, C, ceil(H/2), ceil(W/2)): a leaky ReLU of that slope, then the
    blur. Slope 1 leaves the ReLU out, and then nothing is saved for the backward pass."""
    blur_pool2d_backward: Callable[[Tensor, Tensor | None, int, int, float], Tensor]
    """Gradient of y, x or None where slope is 1, height, width and slope -> gradient of x."""


@functools.cache
def operators() -> Operators:
    """Register the ops with torch, once a process, and return them."""
    to_depth = _define_move("space_to_depth", composed.space_to_depth, cuda.space_to_depth)
    to_space = _define_move("depth_to_space", composed.depth_to_space, cuda.depth_to_space)
    _make_gradient(of=to_depth, be=to_space)
    _make_gradient(of=to_space, be=to_depth)
    blur, backward = _define_blur(), _define_blur_backward()
    _differentiate_blur(blur, backward)
    _differentiate_blur_backward(backward, blur)
    return Operators(to_depth, to_space, blur, backward)


Move = Callable[[Tensor, int], Tensor]


def _define_move(name: str, on_cpu: Move, on_cuda: Move) -> CustomOpDef:
    op = torch.library.custom_op(
        f"{DOMAIN}::{name}", on_cpu, mutates_args=(), device_types="cpu", schema=_MOVE
    )
    shape_of = composed.depth_shape if name == "space_to_depth" else composed.space_shape

    def fake(x: Tensor, blocksize: int) -> Tensor:
        return composed.empty(shape_of(x, blocksize), like=x)

    op.register_fake(fake)
    op.register_kernel("cuda", on_cuda)
    return op


def _make_gradient(*, of: CustomOpDef, be: CustomOpDef) -> None:
    def remember(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
        ctx.blocksize = inputs[1]

    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return be(gradient, ctx.blocksize), None

    of.register_autograd(backward, setup_context=remember)


def _define_blur() -> CustomOpDef:
    op = torch.library.custom_op(
        f"{DOMAIN}::blur_pool2d", composed.blur, mutates_args=(), device_types="cpu", schema=_BLUR
    )

    def fake(x: Tensor, slope: float) -> Tensor:
        return composed.empty(composed.blurred_shape(x), like=x)

    op.register_fake(fake)
    op.register_kernel("cuda", cuda.blur)
    return op


def _define_blur_backward() -> CustomOpDef:
    op = torch.library.custom_op(
        f"{DOMAIN}::blur_pool2d_backward",
        composed.blur_backward,
        mutates_args=(),
        device_types="cpu",
        schema=_BLUR_BACKWARD,
    )

    def fake(gradient: Tensor, x: Tensor | None, height: int, width: int, slope: float) -> Tensor:
        return composed.empty((*gradient.shape[:2], height, width), like=gradient)

    op.register_fake(fake)
    op.register_kernel("cuda", cuda.blur_backward)
    return op


def _differentiate_blur(blur: CustomOpDef, backward_op: CustomOpDef) -> None:
    def remember(ctx: Any, inputs: tuple[Tensor, float], output: Tensor) -> None:
        x, ctx.slope = inputs
        ctx.height, ctx.width = x.shape[2:]
        ctx.save_for_backward(None if ctx.slope == 1 else x)

    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return backward_op(gradient, x, ctx.height, ctx.width, ctx.slope), None

    blur.register_autograd(backward, setup_context=remember)


def _differentiate_blur_backward(backward_op: CustomOpDef, blur: CustomOpDef) -> None:
    """Give second derivatives: the backward pass is linear in the gradient it is handed."""

    def remember(
        ctx: Any, inputs: tuple[Tensor, Tensor | None, int, int, float], output: Tensor
    ) -> None:
        _gradient, x, _height, _width, ctx.slope = inputs
        ctx.save_for_backward(x)

    def backward(ctx: Any, second: Tensor) -> tuple[Tensor, None, None, None, None]:
        (x,) = ctx.saved_tensors
        masked = second if x is None else torch.where(x > 0, second, second * ctx.slope)
        return blur(masked, 1.0), None, None, None, None

    backward_op.register_autograd(backward, setup_context=remember)
