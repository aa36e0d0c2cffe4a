"""What a mixture must keep: this file is about bounds, and whether images can tell them at all."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tresnet_deploy.contracts import Labels
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, counted
from tresnet_deploy.int8_results import BoundKind, Judged

_LABEL_FREE = "--min-agreement 99%, which needs no labels"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """The largest drop in top-1, or the least share of images with the float graph's class."""

    kind: BoundKind
    share: float

    def __post_init__(self) -> None:
        """Refuse bounds that nothing or everything meets."""
        if not 0 < self.share < 1:
            raise UsageError(
                f"--{self.kind} {_percent(self.share)} is no bound for a search: INT8 rounds, so "
                "some images may always change class",
                hints=(
                    "--max-drop 0.5%, or --min-agreement 99%: more than 0 % and less than 100 %",
                    "--precision fp32, to change nothing",
                ),
            )

    @property
    def room(self) -> float:
        """The share of images that may change."""
        return self.share if self.kind == "max-drop" else 1 - self.share

    def met(self, judged: Judged) -> bool:
        """Whether a mixture keeps the bound, taken literally."""
        if self.kind == "min-agreement":
            return judged.agreement >= self.share
        assert judged.drop is not None
        return judged.drop <= self.share

    def value(self, judged: Judged) -> float:
        """Return what the bound is about."""
        found = judged.agreement if self.kind == "min-agreement" else judged.drop
        assert found is not None
        return found

    def __str__(self) -> str:
        """Return the bound in words."""
        if self.kind == "min-agreement":
            return f"top-1 agreement of at least {_percent(self.share)}"
        return f"a drop in top-1 of at most {_percent(self.share)}"


def check(bound: Bound, images: ImageSet, labels: Labels) -> None:
    """Refuse images that cannot show whether ``bound`` is met.

    Raises:
        UsageError: there are too few, or a drop is asked for and they have no single labels.
    """
    unlabelled = sum(file.label is None for file in images.files)
    if bound.kind == "max-drop" and (unlabelled or labels.multi_label):
        what = "images may show several classes" if labels.multi_label else _missing(images)
        why = "".join(f"; {note}" for note in images.notes if note.startswith("labels "))
        raise UsageError(
            f"--max-drop needs one label for each held-out image, and {what} ({images.source})"
            f"{why}",
            hints=(_LABEL_FREE, "--held-out DIR, with one folder for each class"),
        )
    # Rounded first: 1 - 0.99 is a little more than 0.01.
    least = math.ceil(round(1 / bound.room, 6))
    if len(images) < least:
        raise UsageError(
            f"{counted(len(images))} held out cannot show {bound}: one image is "
            f"{_percent(1 / len(images))}, so {least} or more are needed",
            hints=("--held-out DIR, for a folder with more images", "a looser bound"),
        )


def _missing(images: ImageSet) -> str:
    unlabelled = sum(file.label is None for file in images.files)
    return f"{unlabelled} of {len(images)} have none"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
