"""The operators in training: this file is about swapping a network's layers for custom ops.

``use_custom_ops(model)`` gives the layers of a network the ops of ``definitions``: the same numbers
and the same state dict, one kernel each way on a GPU, and no padded map kept for the backward pass.
Networks still export: the exporter knows the layers by their class.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

import torch
from torch import Tensor, nn

from tresnet.architecture import SPACE_TO_DEPTH_BLOCK
from tresnet.layers import BlurPool2d, SpaceToDepth

from .definitions import Operators, operators

__all__ = [
    "OperatorBlurPool2d",
    "OperatorSpaceToDepth",
    "Operators",
    "operators",
    "use_custom_ops",
    "use_plain_layers",
]

M = TypeVar("M", bound=nn.Module)


class _Registered(nn.Module):
    """A layer that calls a custom op by its name, as a tracer can follow it."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)
        operators()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Register the ops, since an unpickled layer may be the first to need them."""
        operators()
        super().__setstate__(state)  # type: ignore[no-untyped-call]  # torch's own


class OperatorSpaceToDepth(_Registered, SpaceToDepth):
    """The layer as one call of ``tresnet::space_to_depth``."""

    def forward(self, x: Tensor) -> Tensor:
        """The rearranged tensor."""
        result: Tensor = torch.ops.tresnet.space_to_depth(x, SPACE_TO_DEPTH_BLOCK)
        return result


class OperatorBlurPool2d(_Registered, BlurPool2d):
    """The layer as one call of ``tresnet::blur_pool2d``; its filter is part of the op."""

    def forward(self, x: Tensor) -> Tensor:
        """The blurred map at half the resolution."""
        result: Tensor = torch.ops.tresnet.blur_pool2d(x, 1.0)
        return result


_SWAPS: Final[tuple[tuple[type[nn.Module], type[nn.Module]], ...]] = (
    (SpaceToDepth, OperatorSpaceToDepth),
    (BlurPool2d, OperatorBlurPool2d),
)


def use_custom_ops(model: M) -> M:
    """Make the layers of ``model`` call the custom ops, in place, and return it.

    Names, buffers and state dict stay; ``use_plain_layers`` undoes it.
    """
    operators()
    for plain, operator in _SWAPS:
        _retype(model, plain, operator)
    return model


def use_plain_layers(model: M) -> M:
    """Undo ``use_custom_ops``, in place, and return ``model``."""
    for plain, operator in _SWAPS:
        _retype(model, operator, plain)
    return model


def _retype(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> None:
    for module in model.modules():
        if type(module) is old:
            module.__class__ = new
