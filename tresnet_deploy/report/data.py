"""What a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tresnet_deploy.contracts import Artifact
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow, ParityReport, StageParity


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """A step of the pipeline, what it made, and how long that took."""

    name: str
    result: str
    seconds: float
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportData:
    """Everything a page tells. ``subject`` is the engine that is to be shipped.

    ``images`` finds the files of flipped images by the names that ``parity`` uses.
    ``checkpoint_mib`` is what the engine's size is compared with, None where nobody knows.
    """

    subject: Artifact
    artifacts: tuple[Artifact, ...]
    parity: ParityReport | None = None
    benchmark: BenchmarkReport | None = None
    steps: tuple[StepTime, ...] = ()
    images: Mapping[str, Path] = field(default_factory=dict)
    checkpoint_mib: float | None = None
    command: str = ""
    created: str = ""

    @property
    def stage(self) -> StageParity | None:
        """The parity of the subject itself."""
        stages = self.parity.stages if self.parity else ()
        return next((each for each in stages if each.sha256 == self.subject.sha256), None)

    def rows(self, scenario: str, batch: int) -> tuple[BenchmarkRow, ...]:
        """Return the benchmark's rows of one scenario and batch size."""
        rows = self.benchmark.rows if self.benchmark else ()
        return tuple(row for row in rows if (row.scenario, row.batch) == (scenario, batch))

    def row(self, scenario: str, batch: int) -> BenchmarkRow | None:
        """Return the subject's own row."""
        mine = (row for row in self.rows(scenario, batch) if row.sha256 == self.subject.sha256)
        return next(mine, None)
