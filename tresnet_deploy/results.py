"""What measuring steps return: parity, accuracy and benchmark reports; same rules as contracts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tresnet_deploy.contracts import SCHEMA_VERSION, Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An image whose top-1 class differs from the reference's.

    ``margin`` is the reference's logit lead of its own class over the class now chosen.
    """

    image: str
    reference: str
    candidate: str
    margin: float
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy against labels, in fractions of 1; multi-label fields are None elsewhere."""

    images: int
    top1: float | None = None
    top5: float | None = None
    mean_ap: float | None = None
    cf1: float | None = None
    of1: float | None = None
    drop: float | None = None
    drop_interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One pass/fail bound: ``value`` must be ``bound`` or ``direction`` of it."""

    name: str
    value: float
    bound: float
    direction: Literal["at least", "at most"]
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StageParity:
    """One stage against the reference, over all images.

    ``cosine_min`` is the minimum over samples, never a batch mean; ``snr_db`` is over all logits.
    ``sha256`` is that of ``file``: the benchmark matches verdicts to engines by it.
    """

    stage: str
    precision: Precision
    file: str | None
    max_abs: float
    mean_abs: float
    cosine_min: float
    snr_db: float
    top1_agreement: float
    top5_agreement: float
    flips: tuple[Flip, ...]
    gates: tuple[Gate, ...]
    accuracy: Accuracy | None = None
    sha256: str | None = None

    @property
    def passed(self) -> bool:
        """True when every gate of this stage passed."""
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Every stage against eager FP32 PyTorch with the original weights, on the same images."""

    reference: str
    architecture: str
    images: int
    image_source: str
    stages: tuple[StageParity, ...]
    verdict: Literal["pass", "fail"]
    reference_accuracy: Accuracy | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """Speed over the named baseline's, with a paired bootstrap interval over rounds."""

    baseline: str
    value: float
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkRow:
    """One contestant at one batch size in one scenario; ``samples_ms`` holds rounds of times.

    ``images_per_s`` is the median of the rounds. ``ratio`` is against the run's baseline and
    ``best_pytorch`` against the fastest PyTorch row of the same batch and scenario; both are None
    for a row that failed parity. ``cv`` is the coefficient of variation of the rounds' speeds;
    ``open_s`` is what loading and compiling took, which no time above includes.
    ``cosine_min``, the smallest of the batch's images, compares the outputs with the baseline's
    within this very run: it shows that both did the same work on the same images.
    """

    name: str
    backend: str
    precision: Precision
    batch: int
    scenario: Literal["latency", "throughput"]
    p50_ms: float
    p90_ms: float
    p99_ms: float
    images_per_s: float
    ratio: Ratio | None
    drift: bool
    parity: Literal["pass", "fail", "not checked", "baseline"]
    size_mib: float | None = None
    samples_ms: tuple[tuple[float, ...], ...] = ()
    best_pytorch: Ratio | None = None
    cv: float = 0.0
    warm: bool = True
    open_s: float = 0.0
    cosine_min: float | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """All rows of one interleaved run, with what is needed to judge them.

    ``publishable`` is False for quick runs and busy machines; ``notes`` say why. ``verdicts`` are
    plain sentences, and may be negative ("int8 is slower than fp32 here: ship fp32").
    """

    architecture: str
    rows: tuple[BenchmarkRow, ...]
    rounds: int
    seconds_per_round: float
    publishable: bool
    environment: Mapping[str, str]
    verdicts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION
