"""What measuring steps return: parity, accuracy and benchmark reports; same rules as contracts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tresnet_deploy.contracts import SCHEMA_VERSION, Precision

FlipOutcome = Literal["now wrong", "now right", "right before and after", "wrong before and after"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A two-sided 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """An image whose top-1 class differs from the reference's.

    ``margin`` is the reference's logit lead of its own class over the class now chosen. ``label``
    names what the image shows, and ``outcome`` says whose answer is among it.
    """

    image: str
    reference: str
    candidate: str
    margin: float
    label: str | None = None
    outcome: FlipOutcome | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy against labels, in fractions of 1; multi-label fields are None elsewhere.

    ``interval`` belongs to the headline: top-1, or mAP where images have several labels. ``drop``
    is the reference's headline less this one, on the same images, and ``drop_p`` McNemar's exact
    p-value that there is none (top-1 only).
    """

    images: int
    top1: float | None = None
    top5: float | None = None
    mean_ap: float | None = None
    cf1: float | None = None
    of1: float | None = None
    interval: Interval | None = None
    drop: float | None = None
    drop_interval: Interval | None = None
    drop_p: float | None = None

    @property
    def headline(self) -> float | None:
        """Top-1, or mAP where images have several labels."""
        return self.top1 if self.mean_ap is None else self.mean_ap


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One pass/fail bound: ``value`` must be ``direction`` ``bound``; ``why`` tells its origin."""

    name: str
    value: float
    bound: float
    direction: Literal["at least", "at most"]
    passed: bool
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSnr:
    """How near the output of a block is to the eager network's; None where they are equal."""

    block: str
    snr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StageParity:
    """One stage against the reference, over all images.

    ``cosine_min`` is the minimum over samples, never a batch mean; ``snr_db`` is over all scores
    and None when they are equal. ``relative_error`` is ``max_abs`` over the spread of the
    reference's scores. ``non_finite`` counts images answered with NaN or Inf: they agree with
    nothing, have cosine 0 and are left out of the errors. A clear image is one that the reference
    decides by more than this precision's noise; only these are gated. ``sha256`` is that of
    ``file``: the benchmark matches verdicts to engines by it. ``blocks`` says where in the network
    accuracy went, where that was asked for.
    """

    stage: str
    precision: Precision
    file: str | None
    max_abs: float
    mean_abs: float
    cosine_min: float
    snr_db: float | None
    top1_agreement: float
    top5_agreement: float
    flips: tuple[Flip, ...]
    gates: tuple[Gate, ...]
    accuracy: Accuracy | None = None
    sha256: str | None = None
    relative_error: float = 0.0
    non_finite: int = 0
    clear_images: int = 0
    clear_agreement: float | None = None
    agreement_interval: Interval | None = None
    blocks: tuple[BlockSnr, ...] = ()

    @property
    def passed(self) -> bool:
        """True when every gate of this stage passed."""
        return all(gate.passed for gate in self.gates)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParityReport:
    """Every stage against eager FP32 PyTorch with the original weights, on the same images.

    ``block_images`` is how many of them the blocks of the stages were compared on.
    """

    reference: str
    architecture: str
    images: int
    image_source: str
    stages: tuple[StageParity, ...]
    verdict: Literal["pass", "fail"]
    reference_accuracy: Accuracy | None = None
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    block_images: int = 0
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAccuracy:
    """One class: of ``images`` that show it, and of ``predicted`` ones, how many are right.

    ``recall`` is None for a class that no image shows, ``precision`` for one never predicted;
    ``average_precision`` is for images with several labels.
    """

    name: str
    images: int
    predicted: int
    recall: float | None
    precision: float | None
    average_precision: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """``images`` images of class ``label`` that were taken for ``predicted``."""

    label: str
    predicted: str
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationReport:
    """One model's accuracy on labelled images; ``confusions`` has the commonest pairs first.

    ``images_per_s`` is that of the whole evaluation, decoding of images included.
    """

    file: str
    sha256: str
    architecture: str
    precision: Precision
    backend: str
    image_source: str
    accuracy: Accuracy
    classes: tuple[ClassAccuracy, ...]
    confusions: tuple[Confusion, ...]
    images_per_s: float
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassScore:
    """A class and its probability, from 0 to 1."""

    index: int
    name: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The classes of one image, best first; of several labels, those above the threshold."""

    image: str
    classes: tuple[ClassScore, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReport:
    """What a model sees in images, and which images could not be read, each with the reason."""

    file: str
    precision: Precision
    backend: str
    multi_label: bool
    predictions: tuple[Prediction, ...]
    skipped: tuple[str, ...] = ()
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

    On a GPU ``device_samples_ms`` are the device's own times of the same steps, by CUDA events, and
    ``memory_mib`` is the device memory held; ``cuda_graph`` and ``transfers`` say whether a step is
    one launch and whether it copies. ``equivalent`` is the vendor's command that measures the same.
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
    device_p50_ms: float | None = None
    device_samples_ms: tuple[tuple[float, ...], ...] = ()
    memory_mib: float | None = None
    cuda_graph: bool | None = None
    transfers: bool | None = None
    equivalent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """All rows of one interleaved run, with what is needed to judge them.

    ``doubts`` say why nobody should publish these times: a quick run, a busy machine, drift.
    ``verdicts`` are plain sentences, and may be negative ("int8 is slower than fp32 here: ship
    fp32").
    """

    architecture: str
    rows: tuple[BenchmarkRow, ...]
    rounds: int
    seconds_per_round: float
    environment: Mapping[str, str]
    verdicts: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def publishable(self) -> bool:
        """True when nothing speaks against quoting these times."""
        return not self.doubts
