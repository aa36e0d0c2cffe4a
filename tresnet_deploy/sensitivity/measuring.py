"""From forms and images to effects: this file is about running the chains and judging scores."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tresnet_deploy import metrics
from tresnet_deploy.calibration import Pictures, filled
from tresnet_deploy.contracts import Array, Progress, no_progress
from tresnet_deploy.errors import ImageError, RunError
from tresnet_deploy.images import ImageSet
from tresnet_deploy.int8_results import Basis, Effect, SensitivityReport
from tresnet_deploy.sensitivity.chains import Chains, opened, through
from tresnet_deploy.sensitivity.forms import Forms, Unit, chosen

_PIXELS: Final = 4 * 224 * 224  # of a portion: M in pieces then takes 1 GiB in all
_MOST: Final = 32
_ALIKE: Final = 1e-5  # of the largest score: what another size of batch may change


@dataclass(slots=True)
class _Scores:
    """Scores so far, portion by portion: the float graph's, the INT8 graph's, each unit's."""

    plain: list[Array] = field(default_factory=list)
    int8: list[Array] = field(default_factory=list)
    only: dict[Unit, list[Array]] = field(default_factory=dict)
    without: dict[Unit, list[Array]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def units(self) -> Iterator[tuple[Unit, list[Array], list[Array]]]:
        """Give each unit with its scores: alone in INT8, and alone in float."""
        for unit, only in self.only.items():
            yield unit, only, self.without[unit]


def measure(
    forms: Forms,
    images: ImageSet,
    basis: Basis,
    *,
    names: Sequence[str] = (),
    progress: Progress = no_progress,
) -> SensitivityReport:
    """Return the effect of each unit on the scores of ``images``.

    ``names`` are the units wanted, all where there are none. Nothing is written.

    Raises:
        UsageError: a name is not one of a unit.
        ImageError: no image is readable, or the float graph answers all alike.
        RunError: the float graph itself answers NaN or infinity, or a piece fails.
    """
    units = chosen(forms.units(basis.by), names, "--only")
    begin = time.monotonic()
    scores = _Scores()
    data = Pictures(images=images, preprocess=forms.artifact.preprocess)
    size, fixed = _portion(forms)
    total, done = len(images) * (len(units) + 2), 0
    with opened(forms, units) as chains:
        for portion in data.portions(size):
            real = len(portion.array)
            _run(chains, filled(portion.array, size if fixed else 0), real, scores)
            scores.skipped.extend(portion.skipped)
            done += (real + len(portion.skipped)) * (len(units) + 2)
            progress(done, total, "runs of the network's parts")
    return _report(forms, images, basis, scores, time.monotonic() - begin)


def _portion(forms: Forms) -> tuple[int, bool]:
    """Return how many images to run together, and whether the graph takes no other number."""
    first = forms.artifact.inputs[0].shape[0]
    if isinstance(first, int):
        return first, True
    preprocess = forms.artifact.preprocess
    pixels = preprocess.height_px * preprocess.width_px
    return min(max(1, _PIXELS // pixels), _MOST), False


def _run(chains: Chains, images: Array, real: int, scores: _Scores) -> None:
    """Run one portion through everything; the first ``real`` rows are images."""
    plain = [images, *through(chains.plain, images)]
    int8 = [images, *through(chains.int8, images)]
    scores.plain.append(plain[-1][:real])
    scores.int8.append(int8[-1][:real])
    for variant in chains.variants:
        at = variant.unit.segment
        only = through((variant.only, *chains.plain[at + 1 :]), plain[at])[-1]
        without = through((variant.without, *chains.int8[at + 1 :]), int8[at])[-1]
        scores.only.setdefault(variant.unit, []).append(only[:real])
        scores.without.setdefault(variant.unit, []).append(without[:real])


def _report(
    forms: Forms,
    images: ImageSet,
    basis: Basis,
    scores: _Scores,
    seconds: float,
) -> SensitivityReport:
    activation = forms.artifact.labels.activation

    def logits(parts: list[Array]) -> Array:
        return metrics.comparable_logits(np.concatenate(parts), activation)

    plain, int8 = logits(scores.plain), logits(scores.int8)
    if not np.isfinite(plain).all():
        raise RunError(
            f"the float graph {forms.artifact.path.name} itself answers NaN or infinity",
            hints=("check the weights: tresnet-deploy inspect CHECKPOINT",),
        )
    _require_told_apart(plain, images)
    return SensitivityReport(
        architecture=forms.artifact.architecture,
        file=forms.artifact.path.name,
        basis=basis,
        images=len(plain),
        image_source=images.source,
        int8_snr_db=metrics.snr_db(plain, int8),
        int8_agreement=_agreement(plain, int8),
        effects=tuple(
            _effect(unit, plain, int8, only=logits(only), without=logits(without))
            for unit, only, without in scores.units()
        ),
        seconds=round(seconds, 1),
        skipped=tuple(scores.skipped),
        notes=images.notes,
    )


def _require_told_apart(plain: Array, images: ImageSet) -> None:
    """Refuse black frames and copies of one image, on which no network can go wrong."""
    spread = float(np.ptp(plain, axis=0).max())
    if len(plain) > 1 and spread <= _ALIKE * float(np.abs(plain).max()):
        raise ImageError(
            f"the float graph answers all {len(plain)} held-out images alike, so they cannot show "
            f"what INT8 costs ({images.source}): black frames, or copies of one image?",
            hints=("--held-out DIR, for a folder of other images",),
        )


def _effect(unit: Unit, plain: Array, int8: Array, *, only: Array, without: Array) -> Effect:
    noise = _noise(plain, int8)
    return Effect(
        name=unit.name,
        block=unit.block,
        modules=unit.modules,
        parameters=unit.parameters,
        only_snr_db=metrics.snr_db(plain, only),
        only_agreement=_agreement(plain, only),
        without_snr_db=metrics.snr_db(plain, without),
        without_agreement=_agreement(plain, without),
        noise_share=1 - _noise(plain, without) / noise if noise else 0.0,
    )


def _noise(reference: Array, candidate: Array) -> float:
    return float(np.square(candidate.astype(np.float64) - reference).sum())


def _agreement(reference: Array, candidate: Array) -> float:
    return float(metrics.agreeing(reference, candidate).mean())
