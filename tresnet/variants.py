"""The published TResNets: this file is about the table of variants and their weights, no torch.

Depths and widths were read in the code of the TResNet, ML_Decoder, ImageNet21K and ML-Danbooru
repositories; accuracies are those of timm's `results-imagenet.csv`. Mind that the name "tresnet_l"
means two networks in the wild: a checkpoint's architecture is read off its tensors, not its name.
"""

import dataclasses
import difflib
import re
from dataclasses import dataclass
from typing import Final, Literal

from .architecture import Activation, Architecture, Family, Head, HeadKind, InputRule, Slopes
from .errors import ArchitectureError, UnknownVariantError

__all__ = [
    "VARIANTS",
    "Architecture",
    "Head",
    "InputRule",
    "Slopes",
    "UnknownVariantError",
    "Variant",
    "Weights",
    "architecture",
    "find",
]

_WIDEST: Final = 64  # times the width: thousands of times the weights
_SCALED_NAME: Final = re.compile(r"(.+)_x([0-9]+(?:\.[0-9]+)?)")
_WIDTH_STEP: Final = 8  # family v2 rounds scaled widths to multiples of 8 (TResNet repository)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """One published file of weights.

    `sha256` is None where the publisher's hash is not known to this table. `top1` is ImageNet
    top-1 in percent as timm measured it (centre crop 0.875), None where nobody published one.
    """

    tag: str
    repository: str
    file: str
    classes: int
    input: InputRule
    layout: Literal["miil", "timm"]
    sha256: str | None
    top1: float | None
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A row of the table; `params` and `gmacs` are for 1000 classes at 224 px, linear head.

    The first of `weights` is the default; it is empty where no hub hosts the weights.
    """

    name: str
    depths: tuple[int, int, int, int]
    width: int
    family: Family
    activation: Activation
    weights: tuple[Weights, ...]
    aliases: tuple[str, ...]
    description: str
    params: int
    gmacs: float

    def scaled(self, width_factor: float) -> "Variant":
        """This variant with every width multiplied; no weights, and counts unknown (0)."""
        if not 0 < width_factor <= _WIDEST:
            raise ArchitectureError(f"width_factor must be in (0, {_WIDEST}], not {width_factor:g}")
        if width_factor == 1:
            return self
        width = int(self.width * width_factor)
        if self.family == "v2":
            width = int(self.width * width_factor + _WIDTH_STEP / 2) // _WIDTH_STEP * _WIDTH_STEP
        return dataclasses.replace(
            self,
            name=f"{self.name}_x{width_factor:g}",
            width=max(width, 1),
            weights=(),
            aliases=(),
            description=f"{self.name} with {width_factor:g} times the width",
            params=0,
            gmacs=0.0,
        )

    def matches(self, architecture: Architecture) -> bool:
        """Whether the body of `architecture` is this row, whatever its head and slopes."""
        return (self.width, self.depths, self.family, self.activation) == (
            architecture.width,
            architecture.depths,
            architecture.family,
            architecture.activation,
        )

    def find_weights(self, tag: str | None = None) -> Weights:
        """The published weights with this tag, or the default ones for None.

        Raises:
            UnknownVariantError: no weights have this tag, or none are published at all.
        """
        if not self.weights:
            raise UnknownVariantError(
                f"{self.name} has no weights on a hub: give a file with --checkpoint"
            )
        for weights in self.weights:
            if tag in (None, weights.tag, weights.repository):
                return weights
        tags = ", ".join(weights.tag for weights in self.weights)
        raise UnknownVariantError(f"{self.name} has no weights {tag!r}; choose one of: {tags}")


_CROP_224: Final = InputRule(image_px=224, resize="crop", crop_pct=0.875)
_SQUISH_224: Final = InputRule(image_px=224, resize="squish")
# timm lists crop 0.875 for the 448 px weights too; their authors validate them by squishing.
_SQUISH_448: Final = InputRule(image_px=448, resize="squish")

_IN1K: Final = 1000
_IN21K: Final = 11221  # classes of ImageNet-21K-P, autumn 2011


def _timm(
    name: str, tag: str, rule: InputRule, top1: float | None, classes: int = _IN1K
) -> Weights:
    """Weights in timm's hub layout: plain BatchNorm, Apache-2.0."""
    return Weights(
        tag=tag,
        repository=f"timm/{name}.{tag}",
        file="model.safetensors",
        classes=classes,
        input=rule,
        layout="timm",
        sha256=None,
        top1=top1,
        licence="apache-2.0",
    )


VARIANTS: Final[tuple[Variant, ...]] = (
    Variant(
        name="tresnet_m",
        depths=(3, 4, 11, 3),
        width=64,
        family="v1",
        activation="leaky",
        weights=(
            _timm("tresnet_m", "miil_in21k_ft_in1k", _CROP_224, 83.090),
            _timm("tresnet_m", "miil_in1k", _CROP_224, 80.816),
            _timm("tresnet_m", "miil_in1k_448", _SQUISH_448, 81.710),
            _timm("tresnet_m", "miil_in21k", _SQUISH_224, None, _IN21K),
        ),
        aliases=(),
        description="the paper's medium network, as fast as a ResNet-50",
        params=31_389_032,
        gmacs=5.735,
    ),
    Variant(
        name="tresnet_l",
        depths=(4, 5, 18, 3),
        width=76,
        family="v1",
        activation="leaky",
        weights=(
            _timm("tresnet_l", "miil_in1k", _CROP_224, 81.498),
            _timm("tresnet_l", "miil_in1k_448", _SQUISH_448, 82.278),
        ),
        aliases=(),
        description="the paper's large network",
        params=55_989_256,
        gmacs=10.876,
    ),
    Variant(
        name="tresnet_xl",
        depths=(4, 5, 24, 3),
        width=83,
        family="v1",
        activation="leaky",
        weights=(
            _timm("tresnet_xl", "miil_in1k", _CROP_224, 82.060),
            _timm("tresnet_xl", "miil_in1k_448", _SQUISH_448, 83.066),
        ),
        aliases=(),
        description="the paper's extra-large network",
        params=78_436_244,
        gmacs=15.165,
    ),
    Variant(
        name="tresnet_v2_l",
        depths=(3, 4, 23, 3),
        width=64,
        family="v2",
        activation="leaky",
        weights=(
            _timm("tresnet_v2_l", "miil_in21k_ft_in1k", _CROP_224, 83.910),
            _timm("tresnet_v2_l", "miil_in21k", _SQUISH_224, None, _IN21K),
        ),
        aliases=("tresnet_l_v2",),
        description="bottlenecks only; what ImageNet21K and ML_Decoder call tresnet_l",
        params=46_174_824,
        gmacs=8.812,
    ),
    Variant(
        name="tresnet_mld_xl",
        depths=(3, 8, 34, 5),
        width=64,
        family="v2",
        activation="leaky",
        weights=(),
        aliases=(),
        description="what the ML_Decoder repository calls tresnet_xl",
        params=69_300_712,
        gmacs=12.525,
    ),
    Variant(
        name="tresnet_s",
        depths=(3, 4, 6, 3),
        width=64,
        family="v1",
        activation="leaky",
        weights=(),
        aliases=(),
        description="the small network of the ML_Decoder repository, never released with weights",
        params=25_473_512,
        gmacs=4.643,
    ),
    Variant(
        name="tresnet_d",
        depths=(3, 6, 14, 3),
        width=64,
        family="v2",
        activation="frelu",
        weights=(),
        aliases=(),
        description="ML-Danbooru's TResNet-D: FReLU activations and plain BatchNorm",
        params=36_522_152,
        gmacs=7.401,
    ),
)


def _key(name: str) -> str:
    return name.strip().lower().replace("-", "_").removeprefix("tresnet_")


def find(name: str) -> Variant:
    """The variant of that name: "l", "L", "tresnet_l" and "tresnet-l" are all the same row.

    "m_x0.25" is M with a quarter of its width, as `Variant.scaled` names it.

    Raises:
        UnknownVariantError: no such row; the message names the nearest ones.
    """
    rows = {_key(known): row for row in VARIANTS for known in (row.name, *row.aliases)}
    if (row := rows.get(_key(name))) is not None:
        return row
    if (scaled := _SCALED_NAME.fullmatch(_key(name))) and scaled[1] in rows:
        return rows[scaled[1]].scaled(float(scaled[2]))
    near = difflib.get_close_matches(_key(name), rows, n=2, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    raise UnknownVariantError(f"no variant is called {name!r}: {hint}There are {', '.join(rows)}.")


def architecture(
    variant: str | Variant,
    *,
    width_factor: float = 1.0,
    classes: int = _IN1K,
    head: HeadKind | Head = "linear",
    in_channels: int = 3,
    slopes: Slopes | None = None,
) -> Architecture:
    """The numbers of a variant with the asked width, classes, head and slopes.

    Raises:
        UnknownVariantError: no such variant.
        ArchitectureError: the numbers do not describe a network.
    """
    row = (find(variant) if isinstance(variant, str) else variant).scaled(width_factor)
    if head == "linear":
        head = Head.linear(classes)
    elif head == "bottleneck":
        head = Head.with_bottleneck(classes)
    elif head == "ml_decoder":
        head = Head.ml_decoder(classes)
    return Architecture(
        width=row.width,
        depths=row.depths,
        family=row.family,
        activation=row.activation,
        in_channels=in_channels,
        head=head,
        slopes=slopes or Slopes(),
    )
