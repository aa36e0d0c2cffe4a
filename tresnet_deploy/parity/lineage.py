"""From an engine back to its weights: which files lie between, and all of them opened as stages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tresnet_deploy import artifacts, scoring, weights
from tresnet_deploy.contracts import Artifact, FileDigest, Session
from tresnet_deploy.errors import ArtifactError, UsageError
from tresnet_deploy.hints import quoted
from tresnet_deploy.parity.comparing import REFERENCE
from tresnet_deploy.parity.runs import Stage
from tresnet_deploy.registry import BACKENDS

if TYPE_CHECKING:
    from tresnet import TResNet

_GRAPH_NAMES: Final = {
    "fp32": "ONNX",
    "fp16": "FP16 ONNX",
    "bf16": "BF16 ONNX",
    "int8": "Q/DQ ONNX",
    "fp8": "FP8 Q/DQ ONNX",
}

_FP16_ON_CPUS: Final = (
    "CPU runtimes compute the FP16 ONNX file in FP32: that stage shows what rounding the weights "
    "does, not FP16 arithmetic"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """The reference and all stages, in the order of the flow; ``notes`` name what is missing.

    ``files`` are those of the stages that have one.
    """

    reference: Stage
    stages: tuple[Stage, ...]
    files: tuple[Artifact, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Files:
    """Files on the way to the engines, in the order of the flow, each once."""

    found: list[Artifact] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, artifact: Artifact) -> None:
        """Add ``artifact`` after everything that it was made from."""
        for parent in reversed(artifact.parents):
            self._add_parent(artifact, parent)
        # Not by hash: engines of one graph that differ in a runtime's hint have the same bytes.
        if artifact.path.resolve() not in {known.path.resolve() for known in self.found}:
            self.found.append(artifact)

    def _add_parent(self, child: Artifact, parent: FileDigest) -> None:
        if parent.sha256 == child.source.sha256:
            return  # the checkpoint: the reference is made from it anyway
        if parent.sha256 in {known.sha256 for known in self.found if known.kind == "onnx"}:
            return  # also from another folder: all of a graph, its precision too, is in its bytes
        try:
            artifact = artifacts.read(child.path.with_name(parent.name))
        except UsageError as error:
            self.notes.append(f"{parent.name} is not compared: {error.message}")
            return
        if artifact.sha256 == parent.sha256:
            self.add(artifact)
        else:
            self.notes.append(
                f"{parent.name} is not compared: it was made anew after {child.path.name}"
            )


@contextmanager
def opened(engines: tuple[Artifact, ...], *, quiet: bool = False) -> Iterator[Lineage]:
    """Give the eager FP32 reference, its deploy form, and every file that led to ``engines``.

    The reference has the original weights, loaded again from where the artefacts say they are.

    Raises:
        UnavailableError: PyTorch, an engine's runtime or the published weights are not here.
        UsageError: the engines are not of one model, or its checkpoint is gone.
        ArtifactError: the checkpoint has changed.
        RunError: a runtime refuses a file.
    """
    first = _common(engines)
    files = _Files()
    for engine in engines:
        files.add(engine)
    if any(file.kind == "onnx" and file.precision == "fp16" for file in files.found):
        files.notes.append(_FP16_ON_CPUS)
    names = artifacts.told_apart(file.path for file in files.found)
    with ExitStack() as held:
        reference, deploy_form = _pytorch_stages(first, held, quiet=quiet)
        found = tuple(_stage(file, files.found, names[file.path], held) for file in files.found)
        yield Lineage(
            reference=reference,
            stages=(deploy_form, *found),
            files=tuple(files.found),
            notes=tuple(dict.fromkeys(files.notes)),
        )


def _common(engines: tuple[Artifact, ...]) -> Artifact:
    """Return the first engine, after making sure that all take and give the same."""
    first, *others = engines
    names = artifacts.told_apart(engine.path for engine in engines)
    for other in others:
        for what, mine, theirs in (
            ("weights", first.source.sha256, other.source.sha256),
            ("preprocessing", first.preprocess, other.preprocess),
            ("outputs", first.labels, other.labels),
        ):
            if mine != theirs:
                raise UsageError(
                    f"{names[first.path]} and {names[other.path]} have different {what}, so they "
                    "cannot share one reference",
                    hints=tuple(f"tresnet-deploy compare {quoted(e.path)}" for e in engines),
                )
    return first


def _pytorch_stages(artifact: Artifact, held: ExitStack, *, quiet: bool) -> tuple[Stage, Stage]:
    """Return the network with its original weights, and its deploy form."""
    BACKENDS.load("pytorch")  # says how to install PyTorch, where it is missing
    from tresnet.deploy_form import deploy_form

    original = weights.load(artifact.source, quiet=quiet).model
    folded = deploy_form(original)
    stages = [
        Stage(name=name, precision="fp32", session=_eager(network, artifact, held))
        for name, network in ((REFERENCE, original), ("deploy form", folded))
    ]
    return stages[0], stages[1]


def _eager(network: TResNet, artifact: Artifact, held: ExitStack) -> Session:
    from tresnet_deploy.backends import pytorch
    from tresnet_deploy.eager import Deployed

    module = Deployed(network, artifact.preprocess, artifact.labels.activation).eval()
    session: Session = pytorch.session(module, artifact.inputs, artifact.outputs)
    held.callback(session.close)
    return session


def _stage(artifact: Artifact, all_files: list[Artifact], file: str, held: ExitStack) -> Stage:
    session = scoring.load(artifact)
    held.callback(session.close)
    return Stage(
        name=_name(artifact, all_files, file),
        precision=artifact.precision,
        session=session,
        batch=artifact.batch,
        file=file,
        sha256=artifact.sha256,
    )


def _name(artifact: Artifact, all_files: list[Artifact], file: str) -> str:
    """Return the shortest name of the stage that no other stage has."""
    kind, others = _kind_name(artifact), [other for other in all_files if other != artifact]
    names = (kind, f"{kind}, {artifact.precision}", f"{kind}, {file}")
    alike = [other for other in others if _kind_name(other) == kind]
    if not alike:
        return names[0]
    return names[2 if any(other.precision == artifact.precision for other in alike) else 1]


def _kind_name(artifact: Artifact) -> str:
    if artifact.kind == "engine":
        return f"engine ({artifact.backend})"
    if artifact.kind == "onnx":
        return _GRAPH_NAMES[artifact.precision]
    raise ArtifactError(
        f"{artifact.path} is a {artifact.kind}: there is nothing to compare it with yet",
        hints=(f"tresnet-deploy export --checkpoint {quoted(artifact.path)}",),
    )
