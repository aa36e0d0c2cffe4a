"""Who runs in a benchmark: engines with their verdicts, and eager PyTorch in its best forms."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from tresnet_deploy import environment, parity, scoring, weights
from tresnet_deploy.artifacts import from_json, to_json, write_whole
from tresnet_deploy.benchmark import Contestant, Parity, benchmark
from tresnet_deploy.contracts import (
    Array,
    Artifact,
    Precision,
    Preprocess,
    Progress,
    Session,
    no_progress,
)
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.images import ImageSet, batches
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.results import BenchmarkReport, ParityReport
from tresnet_deploy.timing import Schedule

if TYPE_CHECKING:
    from torch import nn

Pictures = Callable[[Preprocess, int], Array]

_MIB: Final = 2**20
_CACHES: Final = (".blob",)  # a compiled form: the engine runs without it
_COMPILERS: Final = ("g++", "clang++", "c++")  # one of them is what torch.compile runs on CPUs
REPORT: Final = "benchmark.json"
FOLDED: Final = (
    "all PyTorch rows but the first run the folded deploy form in channels-last order, "
    "PyTorch's fastest"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to time: batch sizes, how long, and which forms of PyTorch beside the engines."""

    batches: tuple[int, ...] = (1, 8)
    schedule: Schedule = field(default_factory=Schedule)
    quick: bool = False
    eager: bool = True
    compiled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Eager PyTorch as contestants; ``notes`` say which forms are left out, and why."""

    contestants: tuple[Contestant, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """A way to run the network in PyTorch."""

    name: str
    precision: Precision
    tuned: bool = False
    compiled: bool = False


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

    Verdicts on parity are those of ``folder``/parity.json, for files of the same hash.

    Raises:
        ArtifactError: parity.json cannot be read.
        DeployError: as :func:`tresnet_deploy.benchmark.benchmark` raises.
    """
    pictures = pictures_of(images)
    beside = Baselines(notes=("PyTorch is left out, as asked",))
    if options.eager:
        beside = baselines(artifacts[0], pictures, compiled=options.compiled, quiet=quiet)
    report = benchmark(
        (*beside.contestants, *engines(artifacts, pictures, known=_known_parity(folder))),
        architecture=artifacts[0].architecture,
        batches=options.batches,
        schedule=options.schedule,
        quick=options.quick,
        notes=(*images.notes, *beside.notes),
        progress=progress,
    )
    write_whole(folder / REPORT, to_json(report))
    return report


def _known_parity(folder: Path) -> ParityReport | None:
    path = folder / parity.REPORT
    if not path.is_file():
        return None
    return from_json(path.read_bytes(), ParityReport, name=str(path))


def pictures_of(images: ImageSet) -> Pictures:
    """Return a function that gives the first images, prepared, as a batch of any size.

    Every contestant is fed by it, so all of them see the same pictures; where there are fewer than
    a batch takes, they are repeated. Decoded batches are kept for the next contestant.
    """

    @functools.cache
    def pictures(preprocess: Preprocess, batch: int) -> Array:
        some = dataclasses.replace(images, files=images.files[:batch])
        array = next(batches(some, preprocess, batch)).array
        return array[np.arange(batch) % len(array)]  # (N, ...)

    return pictures


def engines(
    artifacts: Iterable[Artifact], pictures: Pictures, *, known: ParityReport | None
) -> tuple[Contestant, ...]:
    """Return engines as contestants, each with the verdict that ``known`` has on its very bytes.

    They are called by backend and precision, and by file where that is not enough.
    """
    artifacts = tuple(artifacts)
    kinds = Counter(_kind(artifact) for artifact in artifacts)
    return tuple(
        Contestant(
            name=_kind(each) if kinds[_kind(each)] == 1 else f"{_kind(each)}, {each.path.name}",
            backend=each.backend or each.kind,
            precision=each.precision,
            parity=_verdict(each, known),
            open=functools.partial(_open_engine, each, pictures),
            batch=each.batch,
            size_mib=size_mib(each),
            sha256=each.sha256,
        )
        for each in artifacts
    )


def size_mib(artifact: Artifact) -> float:
    """Return the size of what has to be shipped: the file and its companions, without caches."""
    names = (artifact.path.name, *(companion.name for companion in artifact.companions))
    paths = [artifact.path.with_name(name) for name in names if not name.endswith(_CACHES)]
    return sum(path.stat().st_size for path in paths) / _MIB


def _kind(artifact: Artifact) -> str:
    return f"{artifact.backend or artifact.kind} {artifact.precision}"


def _verdict(artifact: Artifact, known: ParityReport | None) -> Parity:
    for stage in known.stages if known else ():
        # By precision too: OpenVINO's FP32 and bf16 engines are the same bytes with another hint.
        if (stage.sha256, stage.precision) == (artifact.sha256, artifact.precision):
            return "pass" if stage.passed else "fail"
    return "not checked"


def _open_engine(artifact: Artifact, pictures: Pictures, batch: int) -> Session:
    session = scoring.load(artifact)
    session.bind({artifact.inputs[0].name: pictures(artifact.preprocess, batch)})
    return session


def baselines(
    artifact: Artifact, pictures: Pictures, *, compiled: bool, quiet: bool = False
) -> Baselines:
    """Return PyTorch's forms of the network that ``artifact`` was made from, the plainest first.

    Without PyTorch or the weights there are none, with a note: engines can be timed by themselves.
    """
    try:
        BACKENDS.load("pytorch")
        checkpoint = weights.load(artifact.source, quiet=quiet)
    except (UnavailableError, UsageError) as error:
        return Baselines(notes=(f"PyTorch is left out: {error.message}",))
    from tresnet.deploy_form import deploy_form
    from tresnet_deploy.eager import Deployed

    # Eager PyTorch takes what the engine takes: decoding and scaling are on the same side of both.
    plain, folded = (
        Deployed(network, artifact.preprocess, artifact.labels.activation).eval()
        for network in (checkpoint.model, deploy_form(checkpoint.model))
    )
    notes: list[str] = []
    forms = tuple(_folded_forms(compiled=compiled, notes=notes))
    first = _Form(name="pytorch eager fp32", precision="fp32")
    return Baselines(
        contestants=(
            _eager(first, plain, artifact, pictures),
            *(_eager(form, folded, artifact, pictures) for form in forms),
        ),
        notes=(FOLDED, *notes),
    )


def _folded_forms(*, compiled: bool, notes: list[str]) -> Iterator[_Form]:
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    if not environment.computes_bf16():
        precisions = ("fp32",)
        notes.append("PyTorch in bf16 is left out: this processor has no bf16 instructions")
    for precision in precisions:
        yield _Form(name=f"pytorch channels-last {precision}", precision=precision, tuned=True)
    if not compiled:
        notes.append("torch.compile is left out: --compile adds it")
    elif not any(map(shutil.which, _COMPILERS)):
        notes.append(f"torch.compile is left out: it needs one of {', '.join(_COMPILERS)}")
    else:
        for precision in precisions:
            yield _Form(
                name=f"pytorch compiled {precision}", precision=precision, tuned=True, compiled=True
            )


def _eager(form: _Form, module: nn.Module, artifact: Artifact, pictures: Pictures) -> Contestant:
    return Contestant(
        name=form.name,
        backend="pytorch",
        precision=form.precision,
        parity="baseline",
        open=functools.partial(_open_eager, form, module, artifact, pictures),
    )


def _open_eager(
    form: _Form, module: nn.Module, artifact: Artifact, pictures: Pictures, batch: int
) -> Session:
    import torch

    from tresnet_deploy.backends import pytorch

    session: Session = pytorch.session(
        module,
        artifact.inputs,
        artifact.outputs,
        compile=form.compiled,
        channels_last=form.tuned,
        autocast=torch.bfloat16 if form.precision == "bf16" else None,
    )
    session.bind({artifact.inputs[0].name: pictures(artifact.preprocess, batch)})
    return session
