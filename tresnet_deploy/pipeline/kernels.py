"""Which engines of a folder come with a list of their kernels."""

from __future__ import annotations

from pathlib import Path

from tresnet_deploy import artifacts, fusions
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import DeployError
from tresnet_deploy.report import FusedEngine


def known_kernels(graph: Artifact, folder: Path) -> tuple[FusedEngine, ...]:
    """Return what is known of the kernels of the folder's engines with the weights of ``graph``.

    An engine that was damaged since is left out: the steps that load it say so.
    """
    found = []
    for engine in artifacts.listed(folder, want=lambda each: each.kind == "engine"):
        if engine.source.sha256 != graph.source.sha256:
            continue
        try:
            report = fusions.read(artifacts.read(engine.path))
        except DeployError:
            continue
        if report is not None:
            found.append(FusedEngine(name=engine.path.name, report=report))
    return tuple(found)
