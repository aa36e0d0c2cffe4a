"""What measuring INT8 returns: sensitivity, latencies, mixtures; same rules as contracts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tresnet_deploy.contracts import SCHEMA_VERSION
from tresnet_deploy.results import Interval

By = Literal["block", "layer"]
BoundKind = Literal["max-drop", "min-agreement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What one block or layer does to the scores, against the float graph on the same images.

    ``only``: it alone is INT8. ``without``: all others are. An SNR is over all scores, None where
    they are equal. ``noise_share`` is the share of the all-INT8 graph's noise power that goes when
    this unit stays float; rounding errors can cancel, so it may be below 0. ``modules`` are the
    torch modules of its quantised layers, ``parameters`` their weights.
    """

    name: str
    block: str
    modules: tuple[str, ...]
    parameters: int
    only_snr_db: float | None
    only_agreement: float
    without_snr_db: float | None
    without_agreement: float
    noise_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """All that effects depend on: a report is used again for the same basis only."""

    graph_sha256: str
    calibration_sha256: str
    images_sha256: str
    method: str
    settings: str
    by: By
    tool_version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitivityReport:
    """The effect of each block or layer, in the order of the network.

    ``int8_snr_db`` and ``int8_agreement`` are those of the graph with all of them in INT8.
    """

    architecture: str
    file: str
    basis: Basis
    images: int
    image_source: str
    int8_snr_db: float | None
    int8_agreement: float
    effects: tuple[Effect, ...]
    seconds: float
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    def ranked(self) -> tuple[Effect, ...]:
        """Return the effects, the most harmful first."""
        return tuple(sorted(self.effects, key=lambda effect: -effect.noise_share))


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockLatency:
    """How long one block takes in either form, in milliseconds."""

    block: str
    float_ms: float
    int8_ms: float

    @property
    def cost_ms(self) -> float:
        """What keeping the block float costs."""
        return self.float_ms - self.int8_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """What each block costs on an engine: measured here, or on a GPU elsewhere.

    Times are for batches of ``batch`` images. A file of this shape is what ``--latency-table``
    takes.
    """

    engine: str
    device: str
    batch: int
    blocks: tuple[BlockLatency, ...]
    schema_version: int = SCHEMA_VERSION

    def of(self, kept: tuple[str, ...]) -> float:
        """Return the estimated latency with the blocks ``kept`` in float, the others in INT8."""
        return sum(b.float_ms if b.block in kept else b.int8_ms for b in self.blocks)

    @property
    def float_ms(self) -> float:
        """The latency with all blocks in float."""
        return sum(block.float_ms for block in self.blocks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How an INT8 graph does against the float graph on held-out images, in fractions of 1.

    ``top1``, ``drop`` and ``drop_interval`` (95 %, paired) need labels.
    """

    agreement: float
    snr_db: float | None
    top1: float | None = None
    drop: float | None = None
    drop_interval: Interval | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """One point of the curve: the blocks kept in float, what that costs, and what it gives.

    ``latency_ms`` is the sum of the blocks' latencies. ``efficient``: no other point is at least as
    good in both.
    """

    kept: tuple[str, ...]
    latency_ms: float
    judged: Judged
    met: bool
    efficient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedReport:
    """The search for the blocks to keep in float, and every mixture that was built and judged.

    ``bound`` is in words, ``bound_share`` its number, a fraction of 1. ``kept`` is None where no
    mixture meets it.
    """

    architecture: str
    file: str
    graph_sha256: str
    bound: str
    bound_kind: BoundKind
    bound_share: float
    kept: tuple[str, ...] | None
    curve: tuple[Mixture, ...]
    latencies: LatencyTable
    judged_on: str
    images: int = 0
    image_source: str = ""
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION

    @property
    def chosen(self) -> Mixture | None:
        """The point that is built."""
        return next((point for point in self.curve if point.kept == self.kept), None)
