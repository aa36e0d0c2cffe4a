"""The whole network in reading order: this file is about `TResNet` and `create`."""

from collections.abc import Iterator
from typing import Final, Literal

import torch
from torch import Tensor, nn

from .architecture import (
    MIN_IMAGE_PX,
    SPACE_TO_DEPTH_BLOCK,
    Architecture,
    Head,
    HeadKind,
    Slopes,
)
from .blocks import BasicBlock, BlockShape, BlockStyle, Bottleneck, ConvNorm
from .errors import ArchitectureError, InputSizeError
from .heads import build_head
from .layers import (
    ActivatedNorm,
    BlurPool2d,
    FReLU,
    Gammas,
    InPlaceOperator,
    NormKind,
    SpaceToDepth,
    in_place_operator,
)
from .variants import Variant, architecture

_STAGES: Final = 4
_BASIC_STAGES_V1: Final = 2
_SQUEEZED_STAGES: Final = 3
_IMAGE_DIMENSIONS: Final = 4


class TResNet(nn.Module):
    """A TResNet: images (N, 3, H, W) to logits (N, classes); H and W multiples of 4 from 20 up.

    Feature maps shrink to 1/4 (stem, layer1), 1/8, 1/16 and 1/32. Build one with `create`.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        gammas: Gammas = "absolute",
        operator: InPlaceOperator | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.gammas = gammas
        width, slopes = architecture.width, architecture.slopes
        stem = BlockStyle(
            activation=architecture.activation,
            slope=slopes.stem,
            gammas=gammas,
            operator=operator,
        )
        block = BlockStyle(
            activation=architecture.activation,
            slope=slopes.block,
            gammas=gammas,
            operator=operator,
        )
        self.space_to_depth = SpaceToDepth()
        self.stem = ConvNorm(architecture.in_channels * SPACE_TO_DEPTH_BLOCK**2, width, 3, stem)
        stages = [_stage(architecture, number, block) for number in range(_STAGES)]
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.head = build_head(architecture.head, architecture.features)

    def forward(self, x: Tensor) -> Tensor:
        """The logits, without softmax or sigmoid.

        Raises:
            InputSizeError: `x` has no shape that the network can take.
        """
        logits: Tensor = self.head(self.features(x))
        return logits

    def features(self, x: Tensor) -> Tensor:
        """The last feature map: (N, 3, H, W) -> (N, 32 width, ceil(H/32), ceil(W/32))."""
        # A symbolic size cannot be compared; torch.export gets its limits from the caller.
        if not torch.compiler.is_exporting():
            check_input(x.shape, self.architecture.in_channels)
        x = self.stem(self.space_to_depth(x))
        x = self.layer2(self.layer1(x))
        out: Tensor = self.layer4(self.layer3(x))
        return out

    def reset_parameters(self) -> None:
        """Initialise as the TResNet repository does; each residual branch starts at zero."""
        for module in self.modules():
            if isinstance(module, (ConvNorm, FReLU)):
                nn.init.kaiming_normal_(module.conv.weight, mode="fan_out")
        for block in self.blocks():
            last = block.conv2 if isinstance(block, BasicBlock) else block.conv3
            assert isinstance(last.norm, ActivatedNorm)
            nn.init.zeros_(last.norm.weight)
        self.head.reset_parameters()

    def blocks(self) -> Iterator[BasicBlock | Bottleneck]:
        """All residual blocks, first to last."""
        for module in self.modules():
            if isinstance(module, (BasicBlock, Bottleneck)):
                yield module

    def reset_constants(self) -> None:
        """Make the blur filters anew, after the network was built on the meta device."""
        for module in self.modules():
            if isinstance(module, BlurPool2d):
                module.reset_filter()


def _stage(architecture: Architecture, number: int, style: BlockStyle) -> nn.Sequential:
    """Stage `number` (0 to 3); its first block changes resolution and channels."""
    basic = architecture.family == "v1" and number < _BASIC_STAGES_V1
    block = BasicBlock if basic else Bottleneck
    planes = architecture.width * 2**number
    if number == 0:
        in_channels = architecture.width
    elif architecture.family == "v1" and number <= _BASIC_STAGES_V1:
        in_channels = planes // 2
    else:
        in_channels = planes * 2
    stride: Literal[1, 2] = 1 if number == 0 else 2
    layers: list[BasicBlock | Bottleneck] = []
    for _ in range(architecture.depths[number]):
        shape = BlockShape(
            in_channels=in_channels,
            planes=planes,
            stride=stride,
            squeeze=number < _SQUEEZED_STAGES,
        )
        layers.append(block(shape, style))
        in_channels, stride = layers[-1].out_channels, 1
    return nn.Sequential(*layers)


def check_input(shape: torch.Size, in_channels: int = 3) -> None:
    """Refuse images that the network cannot take.

    Raises:
        InputSizeError: the shape is not (N, in_channels, H, W), H or W is no multiple of 4, or
            below 20.
    """
    if len(shape) != _IMAGE_DIMENSIONS or shape[1] != in_channels:
        raise InputSizeError(
            f"images must have the shape (N, {in_channels}, H, W), not {tuple(shape)}"
        )
    for side, pixels in (("height", shape[2]), ("width", shape[3])):
        if pixels % SPACE_TO_DEPTH_BLOCK or pixels < MIN_IMAGE_PX:
            fitting = max(round(pixels / SPACE_TO_DEPTH_BLOCK) * SPACE_TO_DEPTH_BLOCK, MIN_IMAGE_PX)
            raise InputSizeError(
                f"image {side} {pixels} px: TResNet takes multiples of {SPACE_TO_DEPTH_BLOCK} "
                f"from {MIN_IMAGE_PX} px up, so resize to {fitting} px"
            )


def create(
    variant: str | Variant | Architecture,
    *,
    classes: int | None = None,
    head: HeadKind | Head | None = None,
    width_factor: float | None = None,
    slopes: Slopes | None = None,
    norm: NormKind = "auto",
    gammas: Gammas | None = None,
    compile_parameter_free: bool = False,
) -> TResNet:
    """A freshly initialised network, in training mode.

    Args:
        variant: a name or row of the table, or a whole `Architecture` (then the next four options
            are in it already and must be left out).
        classes: number of outputs; 1000 unless given.
        head: "linear" unless given; a `Head` fixes its own classes and sizes.
        width_factor: multiplies every width, 1.0 unless given.
        slopes: of the leaky ReLUs; the published ones unless given.
        norm: "auto" trains with InPlace-ABN where the package is installed, else with BatchNorm
            and an in-place leaky ReLU: the same numbers, and the same state dict.
        gammas: "absolute" as InPlace-ABN; "plain" as timm and ML-Danbooru. By default absolute,
            but plain for FReLU networks.
        compile_parameter_free: compile space-to-depth and the blurs with `torch.compile`; whether
            that pays depends on the machine (`bench/paper_claims.py` measures it).

    Raises:
        UnknownVariantError: no variant has this name.
        ArchitectureError: the options contradict each other.
        MissingPackageError: `norm="inplace_abn"` without that package.
    """
    wanted = _wanted(variant, classes, head, width_factor, slopes)
    gammas = gammas or ("plain" if wanted.activation == "frelu" else "absolute")
    if gammas == "plain" and norm == "auto":
        norm = "batchnorm"
    model = TResNet(wanted, gammas=gammas, operator=in_place_operator(norm))
    model.reset_parameters()
    if compile_parameter_free:
        for module in model.modules():
            if isinstance(module, (SpaceToDepth, BlurPool2d)):
                module.compile()
    return model


def _wanted(
    variant: str | Variant | Architecture,
    classes: int | None,
    head: HeadKind | Head | None,
    width_factor: float | None,
    slopes: Slopes | None,
) -> Architecture:
    """The architecture that `create`'s options describe, unless they contradict each other."""
    if isinstance(variant, Architecture):
        if any(option is not None for option in (classes, head, width_factor, slopes)):
            raise ArchitectureError(
                "an Architecture already holds classes, head, width and slopes: "
                "leave these options out, or change it with dataclasses.replace"
            )
        return variant
    if isinstance(head, Head) and classes not in (None, head.classes):
        raise ArchitectureError(
            f"classes={classes} contradicts the head of {head.classes} classes: leave classes out"
        )
    return architecture(
        variant,
        width_factor=1.0 if width_factor is None else width_factor,
        classes=1000 if classes is None else classes,
        head=head or "linear",
        slopes=slopes,
    )
