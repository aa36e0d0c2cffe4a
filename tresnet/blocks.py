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


class _Block(nn.Module):
    """What both blocks share: where they blur, squeeze and skip, and how they end."""

    def __init__(
        self, shape: BlockShape, out_channels: int, squeeze_hidden: int, style: BlockStyle
    ) -> None:
        super().__init__()
        self.out_channels = out_channels
        halves = shape.stride == _HALVING
        changes = halves or shape.in_channels != out_channels
        self.blur: nn.Module = BlurPool2d(shape.planes) if halves else nn.Identity()
        self.se: nn.Module = (
            SqueezeExcite(shape.planes, squeeze_hidden) if shape.squeeze else nn.Identity()
        )
        self.shortcut: nn.Module = (
            Shortcut(shape, out_channels, style) if changes else nn.Identity()
        )
        self.activation: nn.Module = (
            FReLU(out_channels, gammas=style.gammas)
            if style.activation == "frelu"
            else nn.ReLU(inplace=True)
        )


class BasicBlock(_Block):
    """3x3 -> [blur] -> 3x3 -> [SE] -> add -> activation; out = planes. Stages 1 and 2 of v1."""

    def __init__(self, shape: BlockShape, style: BlockStyle) -> None:
        hidden = max(shape.planes // _BASIC_SE_REDUCTION, _SE_MIN_HIDDEN)
        super().__init__(shape, shape.planes, hidden, style)
        self.conv1 = ConvNorm(shape.in_channels, shape.planes, 3, style)
        self.conv2 = ConvNorm(shape.planes, shape.planes, 3, style, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, planes, ceil(H/stride), ceil(W/stride))."""
        skip = self.shortcut(x)
        out = self.conv2(self.blur(self.conv1(x)))
        may_overwrite = isinstance(self.se, SqueezeExcite) or not self.conv2.keeps_output
        out = _add(self.se(out), skip, in_place=may_overwrite)
        activated: Tensor = self.activation(out)
        return activated


class Bottleneck(_Block):
    """1x1 -> 3x3 -> [blur] -> [SE] -> 1x1 -> add -> activation; out = 4 planes."""

    def __init__(self, shape: BlockShape, style: BlockStyle) -> None:
        out_channels = shape.planes * BOTTLENECK_EXPANSION
        hidden = max(shape.planes // _BOTTLENECK_SE_REDUCTION, _SE_MIN_HIDDEN)
        super().__init__(shape, out_channels, hidden, style)
        self.conv1 = ConvNorm(shape.in_channels, shape.planes, 1, style)
        self.conv2 = ConvNorm(shape.planes, shape.planes, 3, style)
        self.conv3 = ConvNorm(shape.planes, out_channels, 1, style, active=False)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in, H, W) -> (N, 4 planes, ceil(H/stride), ceil(W/stride))."""
        skip = self.shortcut(x)
        out = self.blur(self.conv2(self.conv1(x)))
        out = self.conv3(self.se(out))
        activated: Tensor = self.activation(_add(out, skip, in_place=not self.conv3.keeps_output))
        return activated


def _add(x: Tensor, skip: Tensor, *, in_place: bool) -> Tensor:
    return x.add_(skip) if in_place else x + skip
