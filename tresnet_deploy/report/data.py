"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tresnet_deploy.contracts import Artifact
from tresnet_deploy.fusions import FusionReport
from tresnet_deploy.int8_results import SensitivityReport
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow, ParityReport, StageParity


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """A step of the pipeline, what it made, and how long that took."""

    name: str
    result: str
    seconds: float
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedEngine:
    """An engine whose builder said what it fused."""

    name: str
    report: FusionReport


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything a page tells. ``subject`` is the engine that is to be shipped.

    ``images`` finds the files of flipped images by the names that ``parity`` uses.
    ``float_mib`` is the size of the FP32 graph, which the engine's is compared with;
    ``sensitivity`` was measured on that graph. ``fused`` are
    the engines of the folder whose kernels are known.
    """

    subject: Artifact
    artifacts: tuple[Artifact, ...]
    parity: ParityReport | None = None
    benchmark: BenchmarkReport | None = None
    steps: tuple[StepTime, ...] = ()
    images: Mapping[str, Path] = field(default_factory=dict)
    float_mib: float | None = None
    sensitivity: SensitivityReport | None = None
    fused: tuple[FusedEngine, ...] = ()
    command: str = ""
    created: str = ""

    @property
    def stage(self) -> StageParity | None:
        """The parity of the subject itself."""
        stages = self.parity.stages if self.parity else ()
        return next((each for each in stages if self.is_subject(each)), None)

    def is_subject(self, found: BenchmarkRow | StageParity | Artifact) -> bool:
        """Return whether ``found`` is of the subject: its bytes, computed in its precision.

        OpenVINO's FP32 and bf16 engines are the same bytes with another hint.
        """
        mine = (self.subject.sha256, self.subject.precision)
        return (found.sha256, found.precision) == mine

    def rows(self, scenario: str, batch: int) -> tuple[BenchmarkRow, ...]:
        """Return the benchmark's rows of one scenario and batch size."""
        rows = self.benchmark.rows if self.benchmark else ()
        return tuple(row for row in rows if (row.scenario, row.batch) == (scenario, batch))

    def row(self, scenario: str, batch: int) -> BenchmarkRow | None:
        """Return the subject's own row, of two ways to run it the faster one."""
        mine = (row for row in self.rows(scenario, batch) if self.is_subject(row))
        return max(mine, key=lambda row: row.images_per_s, default=None)
