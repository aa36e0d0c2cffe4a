"""What a TResNet is, in numbers: this file is about the types that describe one, without torch."""

import math
from dataclasses import dataclass
from typing import Final, Literal

from .errors import ArchitectureError

Family = Literal["v1", "v2"]
Activation = Literal["leaky", "frelu"]
HeadKind = Literal["linear", "bottleneck", "ml_decoder"]

SPACE_TO_DEPTH_BLOCK: Final = 4
"""Side of the block that the first layer moves into channels (TResNet repository)."""

COLOURS: Final = 3
"""Channels of an image: red, green and blue."""

MIN_IMAGE_PX: Final = 20
"""Smallest side: below it the last blur would reflect a map of one pixel."""

BOTTLENECK_EXPANSION: Final = 4
"""A bottleneck's output channels over its inner channels."""

LAST_STAGE_SCALE: Final = 8
"""Inner width of the fourth stage over that of the first."""

ATTENTION_HEADS: Final = 8
"""Of the ML-Decoder repository; the shapes in a checkpoint do not tell it."""

_WIDEST_PX: Final = 1 << 16  # a network of this side would need terabytes
_ML_DECODER_GROUPS: Final = 100  # default of the ML-Decoder repository
_ML_DECODER_EMBEDDING: Final = 768  # default of the ML-Decoder repository
_ML_DECODER_HIDDEN: Final = 2048  # feed-forward width in the ML-Decoder repository
_ASL_BOTTLENECK: Final = 512  # embedding of the ASL repository's Open Images head


def finite(*numbers: float) -> bool:
    """Whether all of `numbers` are such floats; JSON knows integers that are none."""
    try:
        return all(map(math.isfinite, numbers))
    except OverflowError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRule:
    """How an image becomes the network's input; RGB in [0, 1] before mean and std.

    `crop` resizes the short side to `image_px / crop_pct` and takes the centre; `squish` resizes
    both sides to `image_px` and ignores the aspect ratio. MIIL's networks use mean 0 and std 1.
    """

    image_px: int
    resize: Literal["crop", "squish"]
    crop_pct: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        """Refuse numbers that no image can be prepared by."""
        colours = finite(*self.mean, *self.std) and min(self.std) > 0
        if not colours or not 1 <= self.image_px <= _WIDEST_PX:
            raise ArchitectureError(
                f"images cannot be prepared by image_px {self.image_px}, mean {self.mean} and std "
                f"{self.std}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """Negative slopes of the leaky ReLUs; no checkpoint stores them."""

    stem: float = 1e-2
    block: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse slopes that are no numbers."""
        if not finite(self.stem, self.block):
            raise ArchitectureError(f"slopes must be finite, not {self.stem} and {self.block}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The classifier: its kind and its sizes; sizes of other kinds are None."""

    kind: HeadKind
    classes: int
    bottleneck: int | None = None
    groups: int | None = None
    embedding: int | None = None
    factor: int | None = None
    hidden: int | None = None

    def __post_init__(self) -> None:
        sizes = (self.bottleneck, self.groups, self.embedding, self.factor, self.hidden)
        if min(self.classes, *(1 if size is None else size for size in sizes)) < 1:
            raise ArchitectureError(f"every size of a head must be 1 or more, not {self}")
        if (self.groups or 0) * (self.factor or 0) < self.classes and self.kind == "ml_decoder":
            raise ArchitectureError(
                f"{self.groups} groups of {self.factor} outputs cannot hold {self.classes} classes"
            )
        if (self.embedding or 0) % ATTENTION_HEADS:
            raise ArchitectureError(
                f"embedding {self.embedding} must be a multiple of the {ATTENTION_HEADS} "
                "attention heads"
            )

    @classmethod
    def linear(cls, classes: int) -> "Head":
        """One fully connected layer: the head of the paper."""
        return cls(kind="linear", classes=classes)

    @classmethod
    def with_bottleneck(cls, classes: int, *, bottleneck: int = _ASL_BOTTLENECK) -> "Head":
        """Two linear layers with no activation between: the ASL repository's Open Images head."""
        return cls(kind="bottleneck", classes=classes, bottleneck=bottleneck)

    @classmethod
    def ml_decoder(
        cls,
        classes: int,
        *,
        groups: int = _ML_DECODER_GROUPS,
        embedding: int = _ML_DECODER_EMBEDDING,
        hidden: int = _ML_DECODER_HIDDEN,
    ) -> "Head":
        """The decoder head of arXiv 2111.12933: each group query answers for `factor` classes."""
        groups = min(groups, classes)
        factor = -(-classes // groups)
        return cls(
            kind="ml_decoder",
            classes=classes,
            groups=groups,
            embedding=embedding,
            factor=factor,
            hidden=hidden,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One network in numbers; two networks with equal architectures have equal state dicts.

    `width` is the number of channels after the stem. Family v1 has basic blocks in the first two
    stages, family v2 has bottlenecks everywhere.
    """

    width: int
    depths: tuple[int, int, int, int]
    family: Family = "v1"
    activation: Activation = "leaky"
    in_channels: int = COLOURS
    head: Head = Head(kind="linear", classes=1000)
    slopes: Slopes = Slopes()

    def __post_init__(self) -> None:
        if min(self.width, self.in_channels, *self.depths) < 1:
            raise ArchitectureError(
                f"width {self.width}, depths {self.depths} and in_channels {self.in_channels} "
                "must all be 1 or more"
            )

    @property
    def features(self) -> int:
        """Channels of the last feature map, which the head reads."""
        return self.width * LAST_STAGE_SCALE * BOTTLENECK_EXPANSION

    @property
    def summary(self) -> str:
        """Body and head in words: "tresnet_m with a linear head of 1000 classes"."""
        kind = {"linear": "a linear", "bottleneck": "a bottleneck", "ml_decoder": "an ML-Decoder"}
        return f"{self.name} with {kind[self.head.kind]} head of {self.head.classes} classes"

    @property
    def name(self) -> str:
        """`tresnet_l` for a row of the table, else a description in numbers."""
        from .variants import VARIANTS

        for variant in VARIANTS:
            if variant.matches(self):
                return variant.name
        depths = "-".join(str(depth) for depth in self.depths)
        activation = ", FReLU" if self.activation == "frelu" else ""
        return f"TResNet(width {self.width}, depths {depths}, {self.family}{activation})"
