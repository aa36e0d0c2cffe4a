"""All findings on one engine, as a report or as an error."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Final

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.errors import (
    ArtifactError,
    DeployError,
    ElsewhereError,
    UnavailableError,
    UsageError,
)
from tresnet_deploy.hints import output_suffix, quoted
from tresnet_deploy.trust import files, machine
from tresnet_deploy.trust.headers import (
    PlanHeader,
    described_beginning,
    layout_is_known,
    read_header,
)
from tresnet_deploy.trust.machine import Machine
from tresnet_deploy.trust.reports import Finding, Outcome, TrustReport, Verdict

_REBUILD: Final = "tresnet-deploy build-engine"
_PLAN_SUFFIXES: Final = (".engine", ".plan", ".trt")


def check_before_loading(artifact: Artifact, here: Machine | None = None) -> None:
    """Refuse an engine that was changed since its build or cannot run here.

    What cannot be told passes: the runtime has its own checks. An ONNX file passes, since reading
    one runs nothing, and so does an engine that is being built and has no hash yet.

    Raises:
        ArtifactError: its bytes, sidecar or header are not those of the build.
        UnavailableError: another version of the runtime or another GPU is needed, or the file
            cannot be read.
    """
    if artifact.kind != "engine" or not artifact.sha256:
        return
    try:
        header, about_header = files.header_of(artifact)
        found = chain(
            files.bytes_of(artifact),
            files.seal_of(artifact),
            about_header,
            _machine(artifact, header, here),
        )
        refusal = next((finding for finding in found if finding.outcome == "bad"), None)
    except OSError as error:
        raise _unreadable(artifact.path, error) from error
    if refusal is not None:
        raise _refusal(refusal, artifact)


def examine(path: Path, here: Machine | None = None) -> TrustReport:
    """Return whether the engine at ``path`` may be loaded here; it is not loaded for that.

    Raises:
        UsageError: there is no such file, or it is no engine.
        UnavailableError: it cannot be read.
    """
    try:
        return _examined(path, here)
    except OSError as error:
        raise _unreadable(path, error) from error


def _examined(path: Path, here: Machine | None) -> TrustReport:
    if path.is_symlink() and not artifacts.sidecar_of(path).is_file():
        return _link(path)
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is no file, so it is no engine")
    if path.is_file() and not artifacts.sidecar_of(path).is_file():
        return _without_sidecar(path)
    try:
        artifact = artifacts.read(path)
    except ArtifactError as error:
        return _unmatched(path, error)
    if artifact.kind != "engine":
        raise UsageError(
            f"{path} is an {artifact.kind} file; only engines are checked for a machine",
            hints=(f"tresnet-deploy inspect {quoted(path)}",),
        )
    header, about_header = files.header_of(artifact)
    found = (
        *files.bytes_of(artifact),
        *files.seal_of(artifact),
        *about_header,
        *_machine(artifact, header, here),
        *files.parents_of(artifact),
    )
    return TrustReport(
        path=str(path),
        verdict=_verdict(found),
        backend=artifact.backend,
        findings=found,
        rebuild=_rebuild(artifact),
        header=header,
    )


def _machine(
    artifact: Artifact, header: PlanHeader | None, given: Machine | None
) -> Iterator[Finding]:
    if artifact.backend in machine.PLAN_BACKENDS and header is None:
        return  # it is no plan: there is nothing to compare
    here = given or Machine.here(artifact.backend)
    yield from machine.runtime_of(artifact, header, here)
    if header is None:
        yield from machine.processor_of(artifact, here)
    else:
        yield from machine.gpu_of(artifact, header, here)


def _verdict(findings: tuple[Finding, ...]) -> Verdict:
    outcomes = {finding.outcome for finding in findings}
    if "bad" in outcomes:
        return "incompatible"
    return "cannot tell" if "unknown" in outcomes else "compatible"


def _without_sidecar(path: Path) -> TrustReport:
    """Return what can be told of a file that nothing vouches for."""
    header = read_header(path)
    backend = f" --backend {header.runtime}" if header else ""
    sidecar = artifacts.sidecar_of(path).name
    alone = Finding(
        check="sidecar",
        outcome="unknown",
        detail=f"{path} has no sidecar {sidecar}: nothing vouches for its bytes, so tresnet-deploy "
        "does not load it",
        about="file",
    )
    found: tuple[Finding, ...] = (alone,)
    if header is not None:
        size = path.stat().st_size
        detail = f"a plan of {header.runtime} {header.version_text}"
        known = layout_is_known(header.runtime, header.version)
        cut = known and header.size is not None and header.size != size
        more = f"; it has {size} bytes, and its header says {header.size}" if cut else ""
        outcome: Outcome = "bad" if cut else "note"
        found = (*found, Finding(check="header", outcome=outcome, detail=detail + more))
    elif path.suffix in _PLAN_SUFFIXES:
        detail = f"{path} is no TensorRT plan: {described_beginning(path)}"
        found = (*found, Finding(check="header", outcome="bad", detail=detail, about="file"))
    return TrustReport(
        path=str(path),
        verdict=_verdict(found),
        backend=header.runtime if header else None,
        findings=found,
        rebuild=f"{_REBUILD}{backend}{output_suffix(path.parent)}",
        header=header,
    )


def _unmatched(path: Path, error: ArtifactError) -> TrustReport:
    finding = Finding(check="sidecar", outcome="bad", detail=error.message, about="file")
    return TrustReport(
        path=str(path),
        verdict="incompatible",
        backend=None,
        findings=(finding,),
        rebuild=f"{_REBUILD} --overwrite{output_suffix(path.parent)}",
        header=read_header(path),
    )


def _link(path: Path) -> TrustReport:
    """Refuse a symbolic link without a sidecar of its own, saying where it leads."""
    target = path.readlink()
    if not path.exists():
        raise UsageError(f"{path} is a symbolic link to {target}, which does not exist")
    detail = f"{path} is a symbolic link, and its sidecar does not lie beside it: check {target}"
    finding = Finding(check="sidecar", outcome="unknown", detail=detail, about="file")
    return TrustReport(
        path=str(path),
        verdict="cannot tell",
        backend=None,
        findings=(finding,),
        rebuild=f"{_REBUILD} --overwrite{output_suffix(path.parent)}",
    )


def _rebuild(artifact: Artifact) -> str:
    """Return the command that builds the engine anew from the graph it was made from."""
    graph = artifact.parents[0].name if artifact.parents else ""
    place = files.beside(artifact.path, graph)
    given = f" {quoted(place)}" if place is not None and place.is_file() else ""
    return (
        f"{_REBUILD}{given} --backend {artifact.backend} --precision {artifact.precision}"
        f"{_batch(artifact.batch)} --overwrite{output_suffix(artifact.path.parent)}"
    )


def _batch(batch: Batch | None) -> str:
    if batch is None or batch == Batch():
        return ""
    return f" --batch {batch.max if batch.fixed else f'{batch.min}:{batch.opt}:{batch.max}'}"


def _refusal(finding: Finding, artifact: Artifact) -> DeployError:
    hints = (_rebuild(artifact), f"tresnet-deploy check-engine {quoted(artifact.path)}")
    if finding.about == "file":
        return ArtifactError(finding.detail, hints=hints)
    kind = ElsewhereError if finding.check == machine.GPU else UnavailableError
    return kind(f"{artifact.path} cannot run here: {finding.detail}", hints=hints)


def _unreadable(path: Path, error: OSError) -> UnavailableError:
    return UnavailableError(f"cannot read {path}: {error.strerror or error}")
