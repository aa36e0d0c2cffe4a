"""The origin part: which file was made from which, by what settings, and on what machine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from tresnet_deploy.contestants import size_mib
from tresnet_deploy.contracts import Artifact, Preprocess
from tresnet_deploy.report.data import ReportData
from tresnet_deploy.report.words import mebibytes

_HASH_DIGITS: Final = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class FileView:
    """One artefact as a table row, with the settings it was made by."""

    name: str
    step: str
    precision: str
    size: str
    sha256: str
    short_sha256: str
    parent: str
    verified: str
    settings: tuple[tuple[str, str], ...]
    subject: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A name and its value."""

    name: str
    value: str


def files(data: ReportData) -> tuple[FileView, ...]:
    """Return the artefacts in the order in which they were made."""
    return tuple(_file(artifact, data) for artifact in data.artifacts)


def _file(artifact: Artifact, data: ReportData) -> FileView:
    try:
        size = mebibytes(size_mib(artifact))
    except OSError:  # moved or deleted since
        size = "gone"
    step = artifact.step if artifact.backend is None else f"{artifact.step} ({artifact.backend})"
    return FileView(
        name=artifact.path.name,
        step=step,
        precision=artifact.precision,
        size=size,
        sha256=artifact.sha256,
        short_sha256=artifact.sha256[:_HASH_DIGITS],
        parent=artifact.parents[0].name if artifact.parents else _short_source(artifact),
        verified=artifact.verified or "",
        settings=tuple((name, str(value)) for name, value in artifact.settings.items()),
        subject=data.is_subject(artifact),
    )


def _short_source(artifact: Artifact) -> str:
    source = artifact.source
    return PurePath(source.location).name if source.kind == "file" else _source_of(artifact)


def _source_of(artifact: Artifact) -> str:
    source = artifact.source
    where = {"file": source.location, "published": f"{source.variant} {source.location}"}
    return where.get(source.kind, f"random weights, seed {source.seed}")


def model_facts(data: ReportData) -> tuple[Fact, ...]:
    """Return what the model is and how it wants its images."""
    subject = data.subject
    source = subject.source
    labels = subject.labels
    shapes = "; ".join(
        f"{spec.name} {spec.dtype} {' × '.join(map(str, spec.shape))}" for spec in subject.inputs
    )
    kind = "several labels an image" if labels.multi_label else "one label an image"
    return (
        Fact(name="architecture", value=subject.architecture),
        Fact(name="weights", value=_source_of(subject)),
        Fact(name="weights' sha256", value=source.sha256 or "none"),
        Fact(name="classes", value=f"{labels.classes:,}, {kind}"),
        Fact(name="input", value=shapes),
        Fact(name="preprocessing", value=_preprocessing(subject.preprocess)),
        Fact(name="device", value=subject.device or "any"),
    )


def _preprocessing(rule: Preprocess) -> str:
    size = f"{rule.height_px} × {rule.width_px} px"
    fit = f"{rule.resize} {rule.crop_pct:g}" if rule.resize == "crop" else rule.resize
    where = "in the graph" if rule.normalize_in_graph else "before the graph"
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (rule.mean, rule.std))
    return (
        f"{size}, {fit}, {rule.interpolation}, {rule.color_order}, {rule.layout}; "
        f"mean ({mean}), std ({std}) {where}"
    )


def machine_facts(data: ReportData) -> tuple[Fact, ...]:
    """Return the machine and the versions of the benchmark, else those of the engine."""
    found = data.benchmark.environment if data.benchmark else data.subject.versions
    return tuple(Fact(name=name, value=value) for name, value in found.items())
