"""Fused layers: this room is about what a builder made of a graph, read from its own words.

    builder's log, or inspector's JSON --parse, judge--> FusionReport --> <engine>.layers.json

Nothing here imports a runtime. A text of another form gives a report that says so.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.fusions import builder_text, inspector_json, judging, wording
from tresnet_deploy.fusions.graph_facts import GraphFacts, facts_of
from tresnet_deploy.fusions.reports import (
    EXTRA,
    MEANINGS,
    FindingKind,
    FusionReport,
    FusionTotals,
    Kernel,
    KernelFinding,
    KernelTensor,
)

__all__ = [
    "EXTRA",
    "MEANINGS",
    "FindingKind",
    "FusionReport",
    "FusionTotals",
    "GraphFacts",
    "Kernel",
    "KernelFinding",
    "KernelTensor",
    "companion_of",
    "facts_of",
    "parse",
    "read",
    "wording",
]

_SUFFIX: Final = ".layers.json"
_NO_TEXT: Final = "the builder said nothing of its layers"
_NO_GRAPH: Final = "the graph was not at hand: activations are not judged"


def parse(text: str | None, facts: GraphFacts | None = None) -> FusionReport:
    """Return the kernels that ``text`` lists and what is to be said of them.

    ``text`` is the builder's verbose message or the engine inspector's JSON. ``facts`` of the very
    graph that was parsed tell operators and activations. Never raises for a text of another form:
    the report then has the reason.
    """
    if not text or not text.strip():
        return FusionReport(source="none", reason=_NO_TEXT)
    as_json = text.lstrip().startswith("{")
    reader = inspector_json if as_json else builder_text
    try:
        found = reader.parse(text)
    except builder_text.UnknownTextError as error:
        return FusionReport(source="none", reason=str(error))
    kernels = tuple(
        dataclasses.replace(
            kernel, operators=judging.operators(kernel, facts), profile=judging.profile(kernel)
        )
        for kernel in found
    )
    findings = tuple(
        finding for each in judging.by_profile(kernels) for finding in judging.findings(each, facts)
    )
    return FusionReport(
        source="engine inspector" if as_json else "builder's log",
        kernels=kernels,
        findings=findings,
        totals=judging.totals(kernels, findings, facts),
        notes=() if facts else (_NO_GRAPH,),
    )


def companion_of(engine: Path) -> Path:
    """Return where the report on ``engine`` lies: beside it."""
    return engine.with_name(engine.name + _SUFFIX)


def read(engine: Artifact) -> FusionReport | None:
    """Return the report beside ``engine``, None where it has none.

    Raises:
        ArtifactError: it is malformed or of another version.
        OSError: it cannot be read.
    """
    path = companion_of(engine.path)
    if path.name not in {companion.name for companion in engine.companions}:
        return None
    return artifacts.from_json(path.read_bytes(), FusionReport, name=str(path))
