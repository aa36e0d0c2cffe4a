"""What is wrong with calibration images or ranges, each by a rule with a name that stays.

CAL001  there are few images                     CAL006  an activation was 0 on all of them
CAL002  some show one plain colour               CAL007  a range leaves far outliers out
CAL003  some are there more than once            CAL008  they are noise, asked for as such
CAL004  all show one class                       CAL009  other preprocessing makes the float graph
CAL005  some have no label                               better
                                                 CAL010  few images to judge on
CAL101  an activation or answer is NaN or infinite: an error, the others are warnings
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.contracts import CalibrationTable
from tresnet_deploy.errors import QuantizeError
from tresnet_deploy.images import ImageSet, counted

from .data import Data, Noise, Portion

FEW_IMAGES: Final = 32  # below it amax still grows by several percent with each further image
FAR: Final = 4  # two of eight bits: a value this many times beyond amax is not just a tail

_LISTED: Final = 3  # names in a message
_CHECK_WEIGHTS: Final = ("check the checkpoint: tresnet-deploy inspect FILE",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that the user should know, and what to do about it."""

    rule: str
    message: str
    advice: str = ""

    def __str__(self) -> str:
        """Return one line for people."""
        return f"{self.rule}: {self.message}" + (f"; {self.advice}" if self.advice else "")


@dataclass(slots=True)
class Tally:
    """What is noticed about the images on the way."""

    images: int = 0
    plain: int = 0
    skipped: list[str] = field(default_factory=list)

    def update(self, portion: Portion) -> None:
        """Look at some images as the graph gets them."""
        array = portion.array
        space = (1, 2) if array.dtype == np.uint8 else (2, 3)  # NHWC bytes, else NCHW
        self.images += len(array)
        self.plain += int((array.max(axis=space) == array.min(axis=space)).all(axis=1).sum())
        self.skipped.extend(portion.skipped)


def notes(tally: Tally, data: Data) -> tuple[str, ...]:
    """Return what the user should know about the images, as lines for a table."""
    if isinstance(data, Noise):
        found = [
            Finding(
                rule="CAL008",
                message="calibrated on random noise: speed and size are real, accuracy is not",
            )
        ]
    else:
        found = [*_of_number(tally, data.images), *_of_files(data.images)]
    if tally.plain:
        found.append(_of_plain(tally))
    return tuple(str(finding) for finding in sorted(found, key=lambda finding: finding.rule))


def _of_plain(tally: Tally) -> Finding:
    if tally.plain == tally.images:
        return Finding(
            rule="CAL002",
            message="all calibration images show one plain colour (black frames?)",
            advice="ranges of these say nothing about photographs: give other images",
        )
    return Finding(
        rule="CAL002",
        message=f"{tally.plain} of {tally.images} calibration images show one plain colour "
        "(black frames?)",
        advice="leave them out",
    )


def of_ranges(table: CalibrationTable) -> tuple[Finding, ...]:
    """Return what is strange about the ranges of ``table``."""
    dead = [entry.tensor for entry in table.ranges if not entry.amax]
    far = [
        entry.tensor
        for entry in table.ranges
        if entry.amax and max(entry.observed_max, -entry.observed_min) > FAR * entry.amax
    ]
    found = []
    if dead:
        message = (
            "these are 0 on all calibration images, so what reads them stays float: "
            f"{listed(sorted(dead))}"
        )
        found.append(Finding(rule="CAL006", message=message))
    if far:
        message = (
            f"the largest values lie more than {FAR} times beyond the range that "
            f"{table.method} chose: {listed(far)}"
        )
        advice = "try --method auto, which measures --equalize and other methods too"
        found.append(Finding(rule="CAL007", message=message, advice=advice))
    return tuple(found)


def not_finite(tensor: str, images: Sequence[str]) -> QuantizeError:
    """Return the error for an activation that is NaN or infinite."""
    return QuantizeError(
        f"CAL101: the activation {tensor} is NaN or infinite in the float graph itself "
        f"(images: {', '.join(images)})",
        hints=_CHECK_WEIGHTS,
    )


def no_numbers() -> QuantizeError:
    """Return the error for a float graph whose own answers are NaN or infinite."""
    return QuantizeError(
        "CAL101: the float graph itself answers NaN or infinity on real images",
        hints=_CHECK_WEIGHTS,
    )


def of_held_out(images: int, what: str = "recipes were") -> tuple[Finding, ...]:
    """Return whether ``what`` is judged on so many ``images`` is judged by chance."""
    if images >= FEW_IMAGES:
        return ()
    message = f"{what} judged on only {counted(images)} not calibrated on"
    return (Finding(rule="CAL010", message=message, advice="give a few hundred images in all"),)


def listed(names: Sequence[str]) -> str:
    """Return the first of ``names``, and how many there are."""
    more = f", ... ({len(names)} in all)" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"


def _of_number(tally: Tally, images: ImageSet) -> Iterable[Finding]:
    if tally.images < FEW_IMAGES and not images.is_sample:
        yield Finding(
            rule="CAL001",
            message=f"calibrated on only {counted(tally.images)}",
            advice="ranges settle with a few hundred",
        )


def _of_files(images: ImageSet) -> Iterable[Finding]:
    contents = Counter(_content(images))
    again = sum(count - 1 for count in contents.values())
    if again:
        yield Finding(
            rule="CAL003",
            message=f"{again} of {len(images)} calibration images are copies of others",
            advice="they add nothing, and weigh what they show twice",
        )
    shown = [file.labels for file in images.files if file.labels is not None]
    classes = {label for labels in shown for label in labels}
    if len(images) > 1 and len(shown) == len(images) and len(classes) == 1:
        (only,) = classes
        name = images.class_names[only] if only < len(images.class_names) else f"class {only}"
        yield Finding(
            rule="CAL004",
            message=f"all {len(images)} calibration images show one class, {name}",
            advice="take images of every class",
        )
    if 0 < len(shown) < len(images):
        yield Finding(
            rule="CAL005",
            message=f"{len(images) - len(shown)} of {len(images)} calibration images have no label",
            advice="accuracy is judged without labels",
        )


def _content(images: ImageSet) -> Iterable[str]:
    for file in images.files:
        try:
            yield sha256_of(file.path)
        except OSError:
            continue  # an unreadable file is listed as skipped
