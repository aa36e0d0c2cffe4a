"""The options of calibration: shared by every command that can make an INT8 graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from tresnet_deploy.cli._options import gathered, typed_options
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import UsageError

if TYPE_CHECKING:
    from tresnet_deploy.images import ImageSet
    from tresnet_deploy.quantize import QuantizeOptions

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the options give, each under the name of its option."""

    calibration_data: Path | None
    calibration_samples: int
    method: str
    equalize: bool | None
    bias_correction: bool | None
    weight_range: Literal["max", "mse"] | None
    weight_rounding: Literal["nearest", "gptq"] | None
    exclude: tuple[str, ...]
    quantize_all: bool
    random_calibration: bool
    pad_int8: bool | None
    strict: bool

    def options(self, seed: int) -> QuantizeOptions:
        """Return them as those of the step.

        Raises:
            UsageError: the method is unknown.
        """
        from tresnet_deploy.quantize import QuantizeOptions

        return QuantizeOptions(
            method=self.method,
            samples=self.calibration_samples,
            seed=seed,
            exclude=self.exclude,
            quantize_all=self.quantize_all,
            strict=self.strict,
            random_calibration=self.random_calibration,
            pad_channels=self.pad_int8,
            equalize=self.equalize,
            bias_correction=self.bias_correction,
            weights=self.weight_range,
            weight_rounding=self.weight_rounding,
        )

    def images(self, artifact: Artifact) -> ImageSet | None:
        """Return the images to calibrate ``artifact`` on: given or packaged ones, None for noise.

        Raises:
            ImageError: the folder cannot be read or has no images.
        """
        from tresnet_deploy.images import default_images

        if self.random_calibration:
            return None
        return default_images(artifact, "calibrate", self.calibration_data)


def refuse_idle(ctx: click.Context, why: str, *hints: str, effective: tuple[str, ...] = ()) -> None:
    """Refuse options of calibration that change nothing, instead of passing them over.

    ``effective`` are those that do.

    Raises:
        UsageError: one was typed.
    """
    names = {*(field.name for field in dataclasses.fields(Calibration)), "seed"}
    typed = typed_options(ctx, names.difference(effective))
    if typed:
        raise UsageError(f"{typed[0]} changes nothing here: {why}", hints=(*hints, "leave it out"))


def calibration_options(function: F) -> F:
    """Add the options below; they arrive as one :class:`Calibration` called ``calibration``."""
    return gathered(function, Calibration, "calibration", _OPTIONS)


# The defaults and names are those of the step, which is too heavy to import here: a test compares.
_OPTIONS = (
    click.option(
        "--calibration-data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of images like those the engine will see; class folders are sampled alike.  "
        "[default: images in the package]",
    ),
    click.option(
        "--calibration-samples",
        type=click.IntRange(min=1),
        default=128,
        show_default=True,
        help="Images drawn from them.",
    ),
    click.option(
        "--method",
        default="mse",
        show_default=True,
        help="How ranges are found: auto (measures them), entropy, minmax, moving-average, mse or "
        "percentile.",
    ),
    click.option(
        "--equalize/--no-equalize",
        default=None,
        help="Level the channels of activations first, exactly.  [default: no; auto measures it]",
    ),
    click.option(
        "--bias-correction/--no-bias-correction",
        default=None,
        help="Take each layer's mean error out of its bias.  [default: no; auto measures it]",
    ),
    click.option(
        "--weight-range",
        type=click.Choice(["max", "mse"]),
        default=None,
        help="Where a channel of weights saturates.  [default: max; auto measures it]",
    ),
    click.option(
        "--weight-rounding",
        type=click.Choice(["nearest", "gptq"]),
        default=None,
        help="gptq rounds each layer's weights for the least error at its output.  "
        "[default: nearest; auto measures it]",
    ),
    click.option(
        "--exclude",
        multiple=True,
        metavar="REGEX",
        help="Keep layers float whose node name it is found in; may be repeated.",
    ),
    click.option(
        "--quantize-all/--no-quantize-all",
        default=False,
        help="INT8 for blur, squeeze-excite and head as well.",
    ),
    click.option(
        "--random-calibration/--no-random-calibration",
        default=False,
        help="Calibrate on noise: for speed and size only.",
    ),
    click.option(
        "--pad-int8/--no-pad-int8",
        default=None,
        help="Round channel counts up, exactly.  [default: where this CPU gains]",
    ),
    click.option("--strict/--no-strict", default=False, help="Stop at an unreadable image."),
)
