"""Engines as contestants: each with the verdict on its own bytes, and in the ways it can be run."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tresnet_deploy import scoring, trtexec
from tresnet_deploy.artifacts import told_apart
from tresnet_deploy.benchmark import Contestant, Parity
from tresnet_deploy.contestants.pictures import Pictures
from tresnet_deploy.contestants.transfers import WithTransfers
from tresnet_deploy.contracts import Artifact, Session
from tresnet_deploy.results import ParityReport
from tresnet_deploy.timing import DeviceSession, Schedule

_MIB: Final = 2**20
_CACHES: Final = (".blob", ".layers.json")  # a compiled form, a report: not needed to run
_NVIDIA: Final = ("tensorrt", "tensorrt-rtx")
_GPU_PROVIDERS: Final = ("cuda", "tensorrt")  # of ONNX Runtime


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How an engine is run. Both are None where there is no such choice."""

    cuda_graph: bool | None = None
    transfers: bool | None = None

    @property
    def suffix(self) -> str:
        words = ["CUDA graph"] * bool(self.cuda_graph) + ["with copies"] * bool(self.transfers)
        return f" ({', '.join(words)})" if words else ""


def engines(
    artifacts: Iterable[Artifact],
    pictures: Pictures,
    *,
    known: ParityReport | None,
    schedule: Schedule,
    transfers: bool = False,
) -> tuple[Contestant, ...]:
    """Return engines as contestants, each with the verdict that ``known`` has on its very bytes.

    They are called by backend and precision, and by file where that is not enough. A file that is
    named twice runs once. NVIDIA's run with and without a CUDA graph: PyTorch in eager mode has
    none. ``transfers`` puts the copies of inputs and outputs into the steps of those that run on a
    GPU.
    """
    artifacts = tuple({artifact.path.resolve(): artifact for artifact in artifacts}.values())
    names = told_apart(artifact.path for artifact in artifacts)
    kinds = Counter(_kind(artifact) for artifact in artifacts)
    return tuple(
        Contestant(
            name=_name(each, kinds, names[each.path]) + way.suffix,
            backend=each.backend or each.kind,
            precision=each.precision,
            parity=_verdict(each, known),
            open=functools.partial(_open, each, way, pictures),
            batch=each.batch,
            size_mib=size_mib(each),
            sha256=each.sha256,
            cuda_graph=way.cuda_graph,
            transfers=way.transfers,
            equivalent=functools.partial(_equivalent, each, way, schedule) if _own(each) else None,
        )
        for each in artifacts
        for way in _ways(each, transfers=transfers)
    )


def runs_on_gpu(artifact: Artifact) -> bool:
    """Return whether an engine computes on a GPU, so that it is to be compared with PyTorch there.

    Asked of the sidecar: the runtime may be missing here, and says so when the engine is opened.
    """
    return _own(artifact) or artifact.settings.get("onnxruntime.provider") in _GPU_PROVIDERS


def _own(artifact: Artifact) -> bool:
    """Tell NVIDIA's own engines, which are the ones that its command-line tools run."""
    return artifact.kind == "engine" and artifact.backend in _NVIDIA


def _ways(artifact: Artifact, *, transfers: bool) -> Iterator[_Way]:
    if not _own(artifact):
        yield _Way()
        return
    for cuda_graph in (False, True):
        yield _Way(cuda_graph=cuda_graph, transfers=transfers)


def _name(artifact: Artifact, kinds: Counter[str], file: str) -> str:
    kind = _kind(artifact)
    return kind if kinds[kind] == 1 else f"{kind}, {file}"


def _kind(artifact: Artifact) -> str:
    return f"{artifact.backend or artifact.kind} {artifact.precision}"


def size_mib(artifact: Artifact) -> float:
    """Return the size of what has to be shipped: the file and its companions, without caches."""
    names = (artifact.path.name, *(companion.name for companion in artifact.companions))
    paths = [artifact.path.with_name(name) for name in names if not name.endswith(_CACHES)]
    return sum(path.stat().st_size for path in paths) / _MIB


def _verdict(artifact: Artifact, known: ParityReport | None) -> Parity:
    for stage in known.stages if known else ():
        # By precision too: OpenVINO's FP32 and bf16 engines are the same bytes with another hint.
        if (stage.sha256, stage.precision) == (artifact.sha256, artifact.precision):
            return "pass" if stage.passed else "fail"
    return "not checked"


def _open(artifact: Artifact, way: _Way, pictures: Pictures, batch: int) -> Session:
    if way.cuda_graph is not None:
        settings = {**artifact.settings, f"{artifact.backend}.cuda_graph": way.cuda_graph}
        artifact = dataclasses.replace(artifact, settings=settings)
    session = scoring.load(artifact)
    session.bind({artifact.inputs[0].name: pictures(artifact.preprocess, batch)})
    if way.transfers and isinstance(session, DeviceSession):
        return WithTransfers(session)
    return session


def _equivalent(artifact: Artifact, way: _Way, schedule: Schedule, batch: int) -> str:
    assert artifact.backend is not None
    return trtexec.command(
        artifact.path,
        artifact.inputs,
        batch=batch,
        backend=artifact.backend,
        version=artifact.versions.get(artifact.backend, ""),
        cuda_graph=bool(way.cuda_graph),
        transfers=bool(way.transfers),
        seconds=schedule.rounds * schedule.seconds,
        warmup_s=schedule.warmup_max_s,
    )
