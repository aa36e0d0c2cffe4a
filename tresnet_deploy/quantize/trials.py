"""Recipes that were measured on held-out images, and which of them is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy.contracts import SCHEMA_VERSION
from tresnet_deploy.metrics import Flags, mcnemar
from tresnet_deploy.precision.weight_ranges import WeightRange
from tresnet_deploy.quantize.gptq import WeightRounding
from tresnet_deploy.quantize.options import Recipe

PAYS_DB: Final = 0.5
"""What equalisation, corrected biases, other weight ranges or other rounding have to gain each, to
be taken: the figures of two seeds of one recipe differ by as much."""

_CHANCE: Final = 0.05  # two recipes whose answers differ less than this likely are equally good


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One recipe on the held-out images.

    ``agreement`` is the share of images with the float graph's top class, ``top1`` the share with
    the right one; None without labels. ``snr_db`` is that of the outputs.
    """

    method: str
    equalize: bool
    bias_correction: bool
    weights: WeightRange
    snr_db: float
    agreement: float
    top1: float | None
    seconds: float
    weight_rounding: WeightRounding = "nearest"
    taken: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trials:
    """All recipes that were measured, best SNR first; ``criterion`` says how one was taken.

    ``graph_sha256`` is that of the file that the taken one became.
    """

    images: int
    images_sha256: str
    criterion: str
    trials: tuple[Trial, ...]
    float_top1: float | None = None
    graph_sha256: str = ""
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A recipe, and for each image whether its answer is right, or as the float graph's."""

    recipe: Recipe
    trial: Trial
    right: Flags


def beside(graph: Path) -> Path:
    """Return where the trials of the file ``graph`` lie; it is complete without them."""
    return graph.with_name(f"{graph.name}.choice.json")


def best_of(measured: Sequence[Measured]) -> Measured:
    """Return the recipe to take.

    Those whose answers are worse than the best's beyond chance (McNemar, p < 0.05) are out; of the
    others the best SNR wins, each extra having to gain ``PAYS_DB``. A few images flip by chance,
    and SNR tells apart what their number cannot.
    """
    leader = max(measured, key=lambda each: (each.right.mean(), each.trial.snr_db))
    equal = [each for each in measured if mcnemar(leader.right, each.right) >= _CHANCE]
    return max(equal, key=lambda each: each.trial.snr_db - PAYS_DB * each.recipe.extras)
