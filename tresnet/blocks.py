"""The two residual blocks: this file is about how convolutions, blur, SE and shortcut are joined.

Every convolution has stride 1: the main path is downsampled by the blur, the shortcut by an average
pool. Source: the TResNet repository's code (paper, figure 2 and table 1).
"""

from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor, nn

from .architecture import BOTTLENECK_EXPANSION, Activation
from .layers import ActivatedNorm, BlurPool2d, FReLU, Gammas, InPlaceOperator, SqueezeExcite

_SE_MIN_HIDDEN: Final = 64  # TResNet repository: no squeeze below 64 channels
_BASIC_SE_REDUCTION: Final = 4
_BOTTLENECK_SE_REDUCTION: Final = 2
_HALVING: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockStyle:
    """What all blocks of one network share.

    `operator` is InPlace-ABN's function, or None for BatchNorm; `slope` the leaky ReLUs'.
    """

    activation: Activation
    slope: float
    gammas: Gammas
    operator: InPlaceOperator | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockShape:
    """The sizes of one block: `planes` is its inner width."""

    in_channels: int
    planes: int
    stride: Literal[1, 2]
    squeeze: bool


class ConvNorm(nn.Module):
    """A convolution without bias, its norm, and (unless `active=False`) the activation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        style: BlockStyle,
        *,
        active: bool = True,
    ) -> None:
        super().__init__()
        leaky = active and style.activation == "leaky"
        frelu = active and style.activation == "frelu"
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, padding=kernel // 2, bias=False)
        self.norm: nn.Module = ActivatedNorm(
            out_channels,
            slope=style.slope if leaky else None,
            gammas=style.gammas,
            operator=style.operator,
        )
        self.activation: nn.Module = (
            FReLU(out_channels, gammas=style.gammas) if frelu else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, H, W)."""
        out: Tensor = self.activation(self.norm(self.conv(x)))
        return out

    @property
    def keeps_output(self) -> bool:
        """Whether the backward pass needs the output unchanged, as InPlace-ABN's does."""
        return isinstance(self.norm, ActivatedNorm) and self.norm.in_place


class Shortcut(nn.Module):
    """The skip connection where shapes change: average pool for stride 2, then 1x1 ConvNorm."""

    def __init__(self, shape: BlockShape, out_channels: int, style: BlockStyle) -> None:
        super().__init__()
        # ceil_mode keeps a last odd row and column, as the blur of the main path does.
        self.pool: nn.Module = (
            nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
            if shape.stride == _HALVING
            else nn.Identity()
        )
        self.project = ConvNorm(shape.in_channels, out_channels, 1, style, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, out, ceil(H/stride), ceil(W/stride))."""
        out: Tensor = self.project(self.pool(x))
        return out


class BasicBlock(nn.Module):
    """3x3 -> [blur] -> 3x3 -> [SE] -> add -> activation; out = planes. Stages 1 and 2 of v1."""

    def __init__(self, shape: BlockShape, style: BlockStyle) -> None:
        super().__init__()
        self.out_channels = shape.planes
        self.conv1 = ConvNorm(shape.in_channels, shape.planes, 3, style)
        self.blur = _blur(shape)
        self.conv2 = ConvNorm(shape.planes, shape.planes, 3, style, active=False)
        self.se = _squeeze(shape, reduction=_BASIC_SE_REDUCTION)
        self.shortcut = _shortcut(shape, self.out_channels, style)
        self.activation = _last_activation(self.out_channels, style)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, planes, ceil(H/stride), ceil(W/stride))."""
        skip = self.shortcut(x)
        out = self.conv2(self.blur(self.conv1(x)))
        may_overwrite = isinstance(self.se, SqueezeExcite) or not self.conv2.keeps_output
        out = _add(self.se(out), skip, in_place=may_overwrite)
        activated: Tensor = self.activation(out)
        return activated


class Bottleneck(nn.Module):
    """1x1 -> 3x3 -> [blur] -> [SE] -> 1x1 -> add -> activation; out = 4 planes."""

    def __init__(self, shape: BlockShape, style: BlockStyle) -> None:
        super().__init__()
        self.out_channels = shape.planes * BOTTLENECK_EXPANSION
        self.conv1 = ConvNorm(shape.in_channels, shape.planes, 1, style)
        self.conv2 = ConvNorm(shape.planes, shape.planes, 3, style)
        self.blur = _blur(shape)
        self.se = _squeeze(shape, reduction=_BOTTLENECK_SE_REDUCTION)
        self.conv3 = ConvNorm(shape.planes, self.out_channels, 1, style, active=False)
        self.shortcut = _shortcut(shape, self.out_channels, style)
        self.activation = _last_activation(self.out_channels, style)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, 4 planes, ceil(H/stride), ceil(W/stride))."""
        skip = self.shortcut(x)
        out = self.conv3(self.se(self.blur(self.conv2(self.conv1(x)))))
        out = _add(out, skip, in_place=not self.conv3.keeps_output)
        activated: Tensor = self.activation(out)
        return activated


def _blur(shape: BlockShape) -> nn.Module:
    return BlurPool2d(shape.planes) if shape.stride == _HALVING else nn.Identity()


def _squeeze(shape: BlockShape, *, reduction: int) -> nn.Module:
    hidden = max(shape.planes // reduction, _SE_MIN_HIDDEN)
    return SqueezeExcite(shape.planes, hidden) if shape.squeeze else nn.Identity()


def _shortcut(shape: BlockShape, out_channels: int, style: BlockStyle) -> nn.Module:
    if shape.stride == _HALVING or shape.in_channels != out_channels:
        return Shortcut(shape, out_channels, style)
    return nn.Identity()


def _last_activation(channels: int, style: BlockStyle) -> nn.Module:
    if style.activation == "frelu":
        return FReLU(channels, gammas=style.gammas)
    return nn.ReLU(inplace=True)


def _add(x: Tensor, skip: Tensor, *, in_place: bool) -> Tensor:
    return x.add_(skip) if in_place else x + skip
