"""How to calibrate and what to quantise: the options of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tresnet_deploy.calibration import DEFAULT_METHOD
from tresnet_deploy.errors import UsageError
from tresnet_deploy.precision.layers import Role
from tresnet_deploy.precision.placement import ALL_ROLES, DEFAULT_ROLES
from tresnet_deploy.precision.weight_ranges import WeightRange
from tresnet_deploy.quantize.gptq import WeightRounding
from tresnet_deploy.registry import OBSERVERS

DEFAULT_SAMPLES: Final = 128
AUTO: Final = "auto"
"""Measures recipes on images that were not calibrated on, and takes the best."""
PADDED: Final = "pad_int8"
"""The setting that says whether quantising rounded channel counts up; an export may have before."""
SKIPPED: Final = "calibration_skipped"
"""The setting that says how many images could not be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to quantise a graph: how ranges are found, and what is done beside."""

    method: str
    equalize: bool = False
    bias_correction: bool = False
    weights: WeightRange = "max"
    weight_rounding: WeightRounding = "nearest"

    @property
    def extras(self) -> int:
        """How much it does beside finding ranges."""
        others = (self.weights != "max") + (self.weight_rounding != "nearest")
        return self.equalize + self.bias_correction + others

    def __str__(self) -> str:
        """Return it in words: "mse, equalized, biases corrected"."""
        parts = (
            self.method,
            "equalized" if self.equalize else "",
            "biases corrected" if self.bias_correction else "",
            f"weights by {self.weights}" if self.weights != "max" else "",
            f"rounded by {self.weight_rounding}" if self.weight_rounding != "nearest" else "",
        )
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """How to calibrate and what to quantise.

    ``samples`` images are drawn, as equally from all classes as they allow. ``exclude`` are regular
    expressions over node names: these layers stay float. ``quantize_all`` takes blur, SE and head
    too. ``strict`` refuses unreadable images instead of skipping them.
    ``random_calibration`` calibrates on noise, where there are no images at all. ``pad_channels``
    rounds channel counts up, exactly; None: where that is faster on this CPU.

    ``method`` "auto" measures methods, and whatever of ``equalize``, ``bias_correction``,
    ``weights`` and ``weight_rounding`` is None; with any other method None means off.
    """

    method: str = DEFAULT_METHOD
    samples: int = DEFAULT_SAMPLES
    seed: int = 0
    exclude: tuple[str, ...] = ()
    quantize_all: bool = False
    strict: bool = False
    random_calibration: bool = False
    pad_channels: bool | None = None
    equalize: bool | None = None
    bias_correction: bool | None = None
    weights: WeightRange | None = None
    weight_rounding: WeightRounding | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown method before any work is done."""
        if self.method not in (AUTO, *OBSERVERS.names()):
            OBSERVERS.load(self.method)
        if self.samples < 1:
            raise UsageError(f"cannot calibrate on {self.samples} images: ask for 1 or more")
        if self.method == AUTO and self.random_calibration:
            raise UsageError(
                "noise has no accuracy that --method auto could measure",
                hints=("--method mse with --random-calibration", "--calibration-data DIR"),
            )

    @property
    def roles(self) -> tuple[Role, ...]:
        """Which layers are quantised."""
        return ALL_ROLES if self.quantize_all else DEFAULT_ROLES

    def recipe(self, method: str | None = None) -> Recipe:
        """Return what the options ask for, with ``method`` instead of their own."""
        return Recipe(
            method=method or self.method,
            equalize=bool(self.equalize),
            bias_correction=bool(self.bias_correction),
            weights=self.weights or "max",
            weight_rounding=self.weight_rounding or "nearest",
        )
