"""The options of calibration: shared by every command that can make an INT8 graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tresnet_deploy.contracts import Artifact

if TYPE_CHECKING:
    from tresnet_deploy.images import ImageSet

F = TypeVar("F", bound=Callable[..., Any])


def calibration_options(function: F) -> F:
    """Add the options below; a command passes what they give to ``QuantizeOptions``.

    They arrive as ``calibration_data``, ``calibration_samples``, ``method``, ``exclude``,
    ``quantize_all``, ``random_calibration``, ``pad_int8`` and ``strict``.
    """
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def calibration_images(artifact: Artifact, data: Path | None, *, random: bool) -> ImageSet | None:
    """Return the images to calibrate ``artifact`` on: given or packaged ones, None for noise.

    Raises:
        ImageError: the folder cannot be read or has no images.
    """
    from tresnet_deploy.images import default_images

    return None if random else default_images(artifact, "calibrate", data)


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
        help="How ranges are found: entropy, minmax, mse or percentile.",
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
