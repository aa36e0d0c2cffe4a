"""The options that name the images to judge INT8 on: never those that it was calibrated on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tresnet_deploy.cli._calibration_options import Calibration
from tresnet_deploy.cli._options import Option
from tresnet_deploy.contracts import Artifact

if TYPE_CHECKING:
    from tresnet_deploy.images import ImageSet

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images to calibrate on (None: noise), and others to judge on."""

    calibration: ImageSet | None
    judged: ImageSet


def held_out_options(samples: int | None, *, later: int | None = None) -> tuple[Option, ...]:
    """Return the two options; ``samples`` is the default.

    ``later`` is one that holds where ``samples`` is None, so that an option which is not given can
    be told from one that is.
    """
    shown = f"  [default: {later}]" if later else ""
    return (
        click.option(
            "--held-out",
            type=click.Path(path_type=Path, file_okay=False),
            help="Folder of images to judge on.  [default: what calibration left of its folder, "
            "or images in the package]",
        ),
        click.option(
            "--held-out-samples",
            type=click.IntRange(min=1),
            default=samples,
            show_default=samples is not None,
            help=f"Judge on at most N of them, all classes alike.{shown}",
        ),
    )


def split(
    artifact: Artifact,
    calibration: Calibration,
    *,
    folder: Path | None,
    count: int,
    seed: int,
) -> Split:
    """Return the images to calibrate ``artifact`` on, and at most ``count`` others.

    Raises:
        UsageError: no image is left to judge on.
        ImageError: a folder cannot be read or has no images.
    """
    from tresnet_deploy.calibration import doctor
    from tresnet_deploy.images.held_out import held_out
    from tresnet_deploy.quantize import drawn

    pool = calibration.images(artifact)
    sets = drawn(pool, calibration.options(seed)) if pool else None
    used = sets.calibration if sets else None
    judged = held_out(artifact, folder=folder, pool=pool, calibrated=used, count=count, seed=seed)
    if sets and sets.held_out:
        chose = len({each.path for each in sets.held_out.files} & {f.path for f in judged.files})
        if chose:
            note = (
                f"{chose} of them also choose the recipe (--method auto): --held-out DIR has others"
            )
            judged = replace(judged, notes=(*judged.notes, note))
    if len(judged) < count:  # fewer than were asked for
        doubts = tuple(str(doubt) for doubt in doctor.of_held_out(len(judged), "INT8 is"))
        judged = replace(judged, notes=(*judged.notes, *doubts))
    return Split(calibration=pool, judged=judged)
