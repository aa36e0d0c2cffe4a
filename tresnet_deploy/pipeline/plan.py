"""What to deploy, what it became, and a run in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from tresnet_deploy import contestants, parity
from tresnet_deploy.contracts import SCHEMA_VERSION, Artifact, Batch, Precision, Progress, Source
from tresnet_deploy.export import ExportOptions
from tresnet_deploy.quantize import QuantizeOptions
from tresnet_deploy.report import StepTime
from tresnet_deploy.results import BenchmarkReport, ParityReport

T = TypeVar("T")

SAMPLES: Final = 500  # as compare: drops of two points show from here on
STEPS: Final = ("export", "quantize", "build engines", "compare", "benchmark", "report")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to deploy, how, and what to prove it on.

    ``backend`` None takes the fastest one usable here. ``rivals`` also builds what the engine has
    to beat: higher precisions of the same backend, and the same precision of the other backends.
    Folders of images None take packaged ones that fit. ``blame``
    compares the blocks of the network too. ``command`` is for the report.
    """

    source: Source
    folder: Path
    precision: Precision = "int8"
    backend: str | None = None
    batch: Batch | None = None
    rivals: bool = True
    export: ExportOptions = field(default_factory=ExportOptions)
    quantize: QuantizeOptions = field(default_factory=QuantizeOptions)
    calibration_data: Path | None = None
    images: Path | None = None
    samples: int = SAMPLES
    seed: int = 0
    parity: parity.Settings = field(default_factory=parity.Settings)
    blame: bool = False
    benchmark: contestants.Options = field(default_factory=contestants.Options)
    overwrite: bool = False
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What a plan has become; the verdict is that of ``parity``."""

    headline: str
    engine: Artifact
    artifacts: tuple[Artifact, ...]
    parity: ParityReport
    benchmark: BenchmarkReport
    report: Path
    steps: tuple[StepTime, ...]
    schema_version: int = SCHEMA_VERSION


StepSeen = Callable[[int, str, StepTime | None], None]
"""Told the number and name of a step when it begins, and again with its time when it has ended."""


def unseen(number: int, name: str, done: StepTime | None) -> None:
    """Ignore steps."""


@dataclass(slots=True)
class Run:
    """One run of a plan: what it tells, and what it has made so far."""

    plan: Plan
    seen: StepSeen
    progress: Progress
    quiet: bool
    steps: list[StepTime] = field(default_factory=list)

    def step(self, name: str, work: Callable[[], tuple[T, str, bool]]) -> T:
        """Time ``work``: it returns its value, what that is in words, and whether it was there."""
        number = STEPS.index(name) + 1
        self.seen(number, name, None)
        begin = time.perf_counter()
        value, result, reused = work()
        seconds = time.perf_counter() - begin
        done = StepTime(name=name, result=result, seconds=seconds, reused=reused)
        self.steps.append(done)
        self.seen(number, name, done)
        return value
