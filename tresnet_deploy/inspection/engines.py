"""What an engine is: made from what, for which runtime and device, and whether parity passed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tresnet_deploy import artifacts, fusions
from tresnet_deploy.contracts import Artifact, FileDigest, Probe
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError
from tresnet_deploy.inspection.machine import probe
from tresnet_deploy.inspection.reports import EngineReport, ParentState, Verdict
from tresnet_deploy.results import ParityReport
from tresnet_deploy.trust import beside

_MIB: Final = 2**20
_PARITY_FILE: Final = "parity.json"


def inspect_engine(path: Path) -> EngineReport:
    """Return what the engine at ``path`` is, without loading it.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it has no sidecar, or is not what its sidecar says.
    """
    artifact = artifacts.read(path)
    files = (path, *(path.with_name(companion.name) for companion in artifact.companions))
    return EngineReport(
        path=str(path),
        size_mib=sum(file.stat().st_size for file in files) / _MIB,
        artifact=artifact,
        parents=tuple(_parent(path, parent) for parent in artifact.parents),
        runtime=_runtime(artifact),
        verdict=verdict_of(artifact),
        layers=_layers(artifact),
    )


def _layers(artifact: Artifact) -> fusions.FusionReport | None:
    try:
        return fusions.read(artifact)
    except ArtifactError as error:  # of another version: the engine itself may be good
        return fusions.FusionReport(source="none", reason=error.message)


def _parent(engine: Path, parent: FileDigest) -> ParentState:
    try:
        path = beside(engine, parent.name)
        found = None if path is None else artifacts.read(path)
    except (UsageError, UnavailableError):
        found = None
    if found is None:
        return ParentState(name=parent.name, sha256=parent.sha256, state="missing")
    return ParentState(
        name=parent.name,
        sha256=parent.sha256,
        state="here" if found.sha256 == parent.sha256 else "made anew",
        step=found.step,
        precision=found.precision,
    )


def _runtime(artifact: Artifact) -> Probe:
    if artifact.backend is None:
        return Probe(usable=False, reason="its sidecar names no backend")
    return probe(artifact.backend).probe


def verdict_of(artifact: Artifact) -> Verdict | None:
    """Return the verdict on these bytes; one on an older build of the same name is none."""
    path = artifact.path.with_name(_PARITY_FILE)
    if not path.is_file():
        return None
    try:
        report = artifacts.from_json(path.read_bytes(), ParityReport, name=str(path))
    except ArtifactError:
        return None  # of another version: as good as no verdict
    for stage in report.stages:
        if stage.sha256 == artifact.sha256:
            return Verdict(
                passed=stage.passed,
                images=report.images,
                top1_agreement=stage.top1_agreement,
                failed_gates=tuple(gate.name for gate in stage.gates if not gate.passed),
            )
    return None
