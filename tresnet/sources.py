"""What no tensor tells: this file is about the slopes and input rules of published checkpoints.

Weights do not say how steep their leaky ReLUs are, nor how images were prepared. Both are looked up
by what the shapes do tell, and every answer comes with its reason, so that a user can disagree.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .architecture import COLOURS, Architecture, HeadKind, InputRule, Slopes, finite
from .errors import CheckpointFileError
from .layouts import Layout

_SQUISHING_MODES: Final = ("squash", "squish")  # timm's crop_mode "squash" ignores the aspect ratio


def _squish(image_px: int) -> InputRule:
    return InputRule(image_px=image_px, resize="squish")


def _crop(image_px: int, resized_px: int) -> InputRule:
    return InputRule(image_px=image_px, resize="crop", crop_pct=image_px / resized_px)


_IMAGENET_RULE: Final = InputRule(image_px=224, resize="crop", crop_pct=0.875)
_MULTI_LABEL_RULE: Final = _squish(224)

# Variant, head and classes of each published file that departs from the two rules above.
_PUBLISHED: Final[Mapping[tuple[str, HeadKind, int], tuple[InputRule, str]]] = {
    ("tresnet_m", "linear", 11221): (_squish(224), "ImageNet-21K-P's M"),
    ("tresnet_m", "linear", 10450): (_squish(224), "ImageNet-21K-P's M (winter 2021)"),
    ("tresnet_v2_l", "linear", 11221): (_squish(224), "ImageNet-21K-P's L"),
    ("tresnet_v2_l", "linear", 10450): (_squish(224), "ImageNet-21K-P's L (winter 2021)"),
    ("tresnet_v2_l", "linear", 196): (_crop(368, 420), "the TResNet repository's Stanford Cars L"),
    ("tresnet_m", "linear", 80): (_squish(224), "ASL's COCO M"),
    ("tresnet_l", "linear", 80): (_squish(448), "ASL's COCO L"),
    ("tresnet_xl", "linear", 80): (_squish(640), "ASL's COCO XL"),
    ("tresnet_xl", "linear", 20): (_squish(448), "ASL's PASCAL VOC XL"),
    ("tresnet_l", "linear", 81): (_squish(448), "ASL's NUS-WIDE L"),
    ("tresnet_l", "bottleneck", 9605): (_squish(448), "ASL's Open Images L"),
    ("tresnet_m", "bottleneck", 9605): (_squish(224), "PartialLabelingCSL's Open Images M"),
    ("tresnet_v2_l", "bottleneck", 9605): (_squish(224), "PartialLabelingCSL's Open Images L"),
    ("tresnet_m", "ml_decoder", 80): (_squish(224), "ML_Decoder's COCO M"),
    ("tresnet_v2_l", "ml_decoder", 80): (_squish(448), "ML_Decoder's COCO L"),
    ("tresnet_mld_xl", "ml_decoder", 80): (_squish(640), "ML_Decoder's COCO XL"),
    ("tresnet_m", "ml_decoder", 9605): (_squish(224), "ML_Decoder's Open Images M"),
    ("tresnet_v2_l", "ml_decoder", 196): (_squish(384), "ML_Decoder's Stanford Cars L"),
    ("tresnet_d", "ml_decoder", 12547): (_squish(640), "ML-Danbooru's D"),
}

_CARS: Final = ("tresnet_v2_l", "linear", 196)
_CARS_SLOPES: Final = Slopes(stem=1e-6, block=1e-6)


def guess_slopes(architecture: Architecture, layout: Layout) -> tuple[Slopes, str]:
    """The slopes of the leaky ReLUs, and why.

    Everybody uses 1e-2 and 1e-3 but the TResNet repository's `tresnet_l_v2`, whose one published
    file has 196 classes. A wrong choice moves logits by some 0.1 % of their spread.
    """
    if architecture.activation == "frelu":
        return Slopes(), "FReLU networks have no leaky ReLU"
    if layout == "miil" and _what(architecture) == _CARS:
        reason = (
            "1e-6: 196 classes on a v2 L are the TResNet repository's Stanford Cars weights; for "
            "a network of your own, trained with 1e-2 and 1e-3, set the slopes"
        )
        return _CARS_SLOPES, reason
    return Slopes(), "1e-2 in the stem and 1e-3 in blocks, as in every repository but one"


def guess_input_rule(architecture: Architecture) -> tuple[InputRule, str]:
    """How images were prepared for the published file of this shape, and why."""
    known = _PUBLISHED.get(_what(architecture))
    if known is not None:
        rule, source = known
        return rule, f"as published for {source}, whose shapes these are; the file does not say"
    if architecture.head.kind == "linear":
        return _IMAGENET_RULE, (
            "the ImageNet rule of TResNet: the file does not say, and 448 px weights look alike"
        )
    return _MULTI_LABEL_RULE, "the multi-label rule of ASL and ML_Decoder: the file does not say"


def _what(architecture: Architecture) -> tuple[str, HeadKind, int]:
    return architecture.name, architecture.head.kind, architecture.head.classes


def hub_input_rule(config: Mapping[str, object], weights: Path) -> InputRule | None:
    """The input rule of a timm hub folder's config.json, or None if it has none.

    Raises:
        CheckpointFileError: a value has the wrong type, or the input is not square.
    """
    settings = config.get("pretrained_cfg", config)
    if not isinstance(settings, Mapping) or "input_size" not in settings:
        return None
    where = f"{weights.with_name('config.json')}: "
    size = _numbers(settings["input_size"], where + "input_size")
    height, width = size[1:]
    if height != width:
        raise CheckpointFileError(
            f"{where}input_size {height:g} x {width:g} is not square: give an input rule"
        )
    squishes = settings.get("crop_mode") in _SQUISHING_MODES
    mean = _numbers(settings.get("mean", (0, 0, 0)), where + "mean")
    std = _numbers(settings.get("std", (1, 1, 1)), where + "std")
    (crop_pct,) = _numbers([settings.get("crop_pct", 1)], where + "crop_pct", count=1)
    if not (0 < crop_pct <= 1 and min(std) > 0 and height >= 1 and finite(height, *mean, *std)):
        raise CheckpointFileError(f"{where}crop_pct {crop_pct}, std {std} or input_size is absurd")
    return InputRule(
        image_px=int(height),
        resize="squish" if squishes else "crop",
        crop_pct=1.0 if squishes else crop_pct,
        mean=(mean[0], mean[1], mean[2]),
        std=(std[0], std[1], std[2]),
        interpolation=str(settings.get("interpolation", "bilinear")),
    )


def hub_class_names(config: Mapping[str, object]) -> tuple[str, ...] | None:
    """The label names of a timm hub folder's config.json, or None if it has none."""
    settings = config.get("pretrained_cfg")
    inner = settings.get("label_names") if isinstance(settings, Mapping) else None
    names = config.get("label_names") or inner
    return tuple(str(name) for name in names) if isinstance(names, list) and names else None


def _numbers(value: object, where: str, *, count: int = COLOURS) -> tuple[float, ...]:
    """`value` as floats, or an error that says where it stands."""
    numbers = value if isinstance(value, list | tuple) else ()
    if len(numbers) != count or not all(isinstance(number, int | float) for number in numbers):
        raise CheckpointFileError(f"{where} must be {count} number(s), not {value!r}")
    if not all(isinstance(number, float) or abs(number) <= sys.maxsize for number in numbers):
        raise CheckpointFileError(f"{where} has an absurd number: {value!r}")
    return tuple(float(number) for number in numbers)
