"""A benchmark from files to a file: this file is about gathering contestants and writing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tresnet_deploy import parity
from tresnet_deploy.artifacts import from_json, to_json, write_whole
from tresnet_deploy.benchmark import Contestant, benchmark
from tresnet_deploy.contestants.engines import engines, runs_on_gpu
from tresnet_deploy.contestants.pictures import pictures_of
from tresnet_deploy.contestants.rivals import Baselines, baselines
from tresnet_deploy.contracts import Artifact, Progress, no_progress
from tresnet_deploy.images import ImageSet
from tresnet_deploy.results import BenchmarkReport, ParityReport
from tresnet_deploy.timing import Schedule

REPORT: Final = "benchmark.json"
_USUAL_SIZES: Final = (1, 8)  # what one user waits for, and what fills a few cores
_COPIES: Final = "steps on a GPU include copies of inputs and outputs, from and to pinned memory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to time: batch sizes, how long, and which forms of PyTorch beside the engines.

    ``batches`` None is 1 and 8, and the size that an engine is built for which takes neither.
    ``transfers`` puts the copies from and to the host into every step on a GPU.
    """

    batches: tuple[int, ...] | None = None
    schedule: Schedule = field(default_factory=Schedule)
    quick: bool = False
    eager: bool = True
    compiled: bool = True
    transfers: bool = False


def measure(
    artifacts: tuple[Artifact, ...],
    images: ImageSet,
    *,
    folder: Path,
    options: Options,
    progress: Progress = no_progress,
    quiet: bool = False,
) -> BenchmarkReport:
    """Time the engines ``artifacts`` on ``images``, and write ``folder``/benchmark.json.

    Verdicts on parity are those of ``folder``/parity.json, for files of the same hash. Where one
    of the engines runs on a GPU, PyTorch does, too.

    Raises:
        ArtifactError: parity.json cannot be read.
        DeployError: as :func:`tresnet_deploy.benchmark.benchmark` raises.
    """
    pictures = pictures_of(images)
    on_gpu = any(map(runs_on_gpu, artifacts))
    beside = Baselines(notes=("PyTorch is left out, as asked",))
    if options.eager:
        beside = baselines(
            artifacts[0],
            pictures,
            compiled=options.compiled,
            on_gpu=on_gpu,
            transfers=on_gpu and options.transfers,
            quiet=quiet,
        )
    ours = engines(
        artifacts,
        pictures,
        known=_known_parity(folder),
        schedule=options.schedule,
        transfers=options.transfers,
    )
    report = benchmark(
        (*beside.contestants, *ours),
        architecture=artifacts[0].architecture,
        batches=_usual_sizes(ours) if options.batches is None else options.batches,
        schedule=options.schedule,
        quick=options.quick,
        notes=(*images.notes, *beside.notes, *_of_copies(options, on_gpu=on_gpu)),
        progress=progress,
    )
    write_whole(folder / REPORT, to_json(report))
    return report


def _usual_sizes(engines: tuple[Contestant, ...]) -> tuple[int, ...]:
    """Return the usual batch sizes, and the best one of each engine that takes none of them."""
    others = {
        each.batch.opt
        for each in engines
        if each.batch is not None and not any(map(each.takes, _USUAL_SIZES))
    }
    return (*_USUAL_SIZES, *others)


def _of_copies(options: Options, *, on_gpu: bool) -> tuple[str, ...]:
    if not options.transfers:
        return ()
    return (_COPIES,) if on_gpu else ("no engine here runs on a GPU: there are no copies to time",)


def _known_parity(folder: Path) -> ParityReport | None:
    path = folder / parity.REPORT
    if not path.is_file():
        return None
    return from_json(path.read_bytes(), ParityReport, name=str(path))
