"""Which images are calibrated on, and which are held out to judge the result."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, counted, dataset_digest, sample
from tresnet_deploy.quantize.options import AUTO, QuantizeOptions

FEWEST: Final = 8
"""Images without which there is nothing to measure."""

_MOST_HELD_OUT: Final = 256  # a standard error of 0.9 points at 98 % agreement; more take minutes
_SHARE_HELD_OUT: Final = 3  # one part in so many where images are short


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """Two sets without an image in common; nothing is held out unless recipes are measured."""

    calibration: ImageSet
    held_out: ImageSet | None = None


def drawn(images: ImageSet, options: QuantizeOptions) -> Drawn:
    """Return the images that ``options`` draw from ``images``, both sets balanced over classes.

    Raises:
        UsageError: there are too few to hold any out.
    """
    if options.method != AUTO:
        return Drawn(calibration=sample(images, options.samples, seed=options.seed))
    total = len(images)
    if total < FEWEST:
        raise UsageError(
            f"--method auto holds images out to measure on: it wants {FEWEST} or more, not "
            f"{counted(total)}",
            hints=("--method mse", "--calibration-data DIR with more images"),
        )
    held = min(max(total - options.samples, total // _SHARE_HELD_OUT), _MOST_HELD_OUT)
    kept = min(options.samples, total - held)
    files = sample(images, kept + held, seed=options.seed).files
    return Drawn(
        calibration=replace(images, files=files[:kept]),
        held_out=replace(images, files=files[kept:]),
    )


def digests(images: ImageSet, options: QuantizeOptions) -> dict[str, str]:
    """Return what an artefact records of the images that ``options`` draw from ``images``."""
    sets = drawn(images, options)
    found = {"calibration_sha256": dataset_digest(sets.calibration)}
    if sets.held_out is not None:
        found["held_out_sha256"] = dataset_digest(sets.held_out)
    return found
