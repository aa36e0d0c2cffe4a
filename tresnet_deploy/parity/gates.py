"""What each precision must keep to pass: this file is about the bounds, their sources and verdicts.

A default gate fails on evidence, not on chance: on 30 photographs one flip is no proof of anything.
So flips are held against the number that chance allows, and a drop against the lower end of its
interval. A bound that the user sets is taken literally.

Agreement is judged on *clear* images, those that the reference decides by more than the noise that
the cosine bound allows. Error of cosine c moves each score by sqrt(2 (1 - c)) of the reference's
spread over classes, so the lead of one class over another by sqrt(2) times that; two standard
deviations of it are 4 sqrt(1 - c) spreads. Nearer calls flip in any engine of that precision. An
untrained network decides next to nothing clearly, and is not failed for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, get_args

from tresnet_deploy.contracts import Precision
from tresnet_deploy.metrics import chance_count
from tresnet_deploy.results import Accuracy, Gate

_DIGITS: Final = range(2, 14)
_SMALL: Final = 0.01  # errors: their size matters, not their digits
_SHARES: Final = ("agreement", "drop")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of one precision.

    ``max_error`` is a share of the spread of the reference's scores (None: not gated),
    ``max_drop`` a share of the reference's top-1 or mAP.
    """

    min_cosine: float
    min_agreement: float
    max_drop: float
    max_error: float | None = None

    @property
    def clear_margin(self) -> float:
        """The lead, in spreads of the reference's scores, from which an image is clear."""
        return 4 * math.sqrt(1 - self.min_cosine)


# Measured on TResNet-M and -L with seeded weights and the photographs in the package: two FP32
# implementations differ by 5e-6 of the logits' spread, a 10-bit mantissa (FP16, and the TF32 that
# FP32 must not be) by 6e-3, bfloat16 by 4e-2. Smallest cosines: FP16 0.999998, bfloat16 0.9998,
# with room for runtimes that also add up in these types. INT8: 0.984 (L) to 0.998 (XL), computed
# with a float remainder in bfloat16; FP8: 0.972 (M) to 0.985 (L). Drops: MLPerf Inference asks for
# 99 % of the FP32 accuracy, or 99.9 %; FP32 itself may only reorder ties.
DEFAULTS: Final[Mapping[Precision, Bounds]] = {
    "fp32": Bounds(min_cosine=0.99999, min_agreement=1.0, max_drop=1e-4, max_error=1e-3),
    "fp16": Bounds(min_cosine=0.9995, min_agreement=0.995, max_drop=0.001),
    "bf16": Bounds(min_cosine=0.995, min_agreement=0.995, max_drop=0.001),
    "int8": Bounds(min_cosine=0.95, min_agreement=0.99, max_drop=0.01),
    "fp8": Bounds(min_cosine=0.95, min_agreement=0.99, max_drop=0.01),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Overrides:
    """Bounds that the user set for stages of ``precisions``, None where the default holds.

    ``min_agreement`` is over all images, ``max_drop`` in fractions of 1 and not of the reference.
    A bound meant for an INT8 engine does not loosen those of the FP32 stages before it.
    """

    min_cosine: float | None = None
    min_agreement: float | None = None
    max_drop: float | None = None
    max_error: float | None = None
    precisions: tuple[Precision, ...] = get_args(Precision)

    def of(self, precision: Precision) -> Overrides:
        """Return what holds for a stage of ``precision``."""
        return self if precision in self.precisions else Overrides()


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the gates of one stage judge; see :class:`tresnet_deploy.results.StageParity`."""

    non_finite: int
    relative_error: float
    cosine_min: float
    top1_agreement: float
    clear_images: int
    clear_flips: int
    accuracy: Accuracy | None
    reference_accuracy: Accuracy | None

    @property
    def clear_agreement(self) -> float | None:
        """Share of the clear images whose top-1 class is kept; None where none is clear."""
        return 1 - self.clear_flips / self.clear_images if self.clear_images else None


def bounds_for(precision: Precision, overrides: Overrides) -> Bounds:
    """Return the bounds of ``precision``; a cosine bound of the user's also moves what is clear."""
    default, asked = DEFAULTS[precision], overrides.of(precision).min_cosine
    return default if asked is None else replace(default, min_cosine=asked)


def judge(findings: Findings, precision: Precision, overrides: Overrides) -> tuple[Gate, ...]:
    """Return every gate that applies to a stage of ``precision``, passed or not."""
    bounds = bounds_for(precision, overrides)
    overrides = overrides.of(precision)
    return (
        _at_most("images with NaN or Inf", findings.non_finite, 0),
        *_error_gate(findings, bounds, overrides),
        _at_least(
            "smallest cosine",
            findings.cosine_min,
            bounds.min_cosine,
            _origin(precision, overrides.min_cosine),
        ),
        *_agreement_gate(findings, bounds, precision, overrides),
        *_drop_gate(findings, bounds, precision, overrides),
    )


def told(gate: Gate) -> tuple[str, str]:
    """Return value and bound in words, with digits enough to tell a failure from its bound."""
    for digits in _DIGITS:
        value, bound = (_in_words(gate.name, each, digits) for each in (gate.value, gate.bound))
        if gate.passed or value != bound:
            break
    return value, f"{gate.direction} {bound}"


def _in_words(name: str, value: float, digits: int) -> str:
    if any(word in name for word in _SHARES):
        return f"{100 * value:.{digits}f} %"
    return f"{value:.{digits}g}" if value < _SMALL else f"{value:.{digits + 4}g}"


def _error_gate(findings: Findings, bounds: Bounds, overrides: Overrides) -> Iterator[Gate]:
    bound = bounds.max_error if overrides.max_error is None else overrides.max_error
    if bound is not None:
        why = "of the spread of the reference's scores"
        yield _at_most("largest error", findings.relative_error, bound, why)


def _agreement_gate(
    findings: Findings, bounds: Bounds, precision: Precision, overrides: Overrides
) -> Iterator[Gate]:
    if overrides.min_agreement is not None:
        yield _at_least(
            "top-1 agreement", findings.top1_agreement, overrides.min_agreement, "your bound"
        )
    elif findings.clear_agreement is not None:
        clear = findings.clear_images
        allowed = chance_count(clear, 1 - bounds.min_agreement)
        yield _at_least(
            "top-1 agreement on clear images",
            findings.clear_agreement,
            1 - allowed / clear,
            f"{_percent(bounds.min_agreement)} for {precision}, less chance in {clear} images",
        )


def _drop_gate(
    findings: Findings, bounds: Bounds, precision: Precision, overrides: Overrides
) -> Iterator[Gate]:
    mine, reference = findings.accuracy, findings.reference_accuracy
    if mine is None or reference is None or mine.drop is None or mine.drop_interval is None:
        return
    what = "top-1" if reference.mean_ap is None else "mAP"
    if overrides.max_drop is not None:
        yield _at_most(f"drop in {what}", mine.drop, overrides.max_drop, "your bound")
    else:
        yield _at_most(
            f"drop in {what}, lower end",
            mine.drop_interval.low,
            bounds.max_drop * (reference.headline or 0.0),
            f"{_percent(bounds.max_drop)} of the reference's {what} for {precision}",
        )


def _percent(share: float) -> str:
    return f"{100 * share:g} %"


def _origin(precision: Precision, override: float | None) -> str:
    return f"default for {precision}" if override is None else "your bound"


def _at_least(name: str, value: float, bound: float, why: str = "") -> Gate:
    return Gate(
        name=name, value=value, bound=bound, direction="at least", passed=value >= bound, why=why
    )


def _at_most(name: str, value: float, bound: float, why: str = "") -> Gate:
    return Gate(
        name=name, value=value, bound=bound, direction="at most", passed=value <= bound, why=why
    )
