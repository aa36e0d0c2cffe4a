"""What ``build-engine`` prints for people: the choices that were made, and the proof."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path

from tresnet_deploy.build import NOT_RUN
from tresnet_deploy.cli._inspection_text import facts
from tresnet_deploy.contracts import Artifact, Batch, Scalar
from tresnet_deploy.engines import BuildPlan
from tresnet_deploy.hints import output_suffix, quoted
from tresnet_deploy.registry import BACKENDS

_MANY = 5
_MIB = 2**20


def plan_text(plan: BuildPlan) -> str:
    """Return what would be built, by which settings."""
    return f"{facts(_planned(plan))}\n\nnothing was written: this was a dry run"


def _planned(plan: BuildPlan) -> Iterator[tuple[str, str]]:
    made = ", to be calibrated" if plan.calibrates else ", to be made"
    yield "graph", f"{plan.graph}{', as it is there' if plan.graph_exists else made}"
    yield "bound", f"{plan.bound}, by a search for the fewest blocks in float" if plan.bound else ""
    yield "backend", f"{plan.backend}: {plan.reason}"
    yield "precision", plan.precision
    yield "batch", _batch(plan.batch)
    yield "options", _pairs(plan.options, plan.backend)
    yield "engine", plan.target


def next_steps(engine: Artifact, folder: Path) -> Iterator[str]:
    """Give the commands that come next, which are others where the engine cannot run."""
    where = output_suffix(folder)
    if not (engine.verified or "").startswith(NOT_RUN):
        yield f"next: tresnet-deploy compare{where}"
        yield f"      tresnet-deploy benchmark{where}"
        return
    yield f"next: tresnet-deploy inspect {quoted(engine.path)}"
    yield f"      copy {folder} to a machine with such a GPU, and there: tresnet-deploy compare"


def text(engine: Artifact, reason: str) -> str:
    """Return the settings block, the check's figures and the file."""
    names = (engine.path.name, *(companion.name for companion in engine.companions))
    size_mib = sum(engine.path.with_name(name).stat().st_size for name in names) / _MIB
    more = f" with {', '.join(names[1:])}" if engine.companions else ""
    return f"{facts(_settings(engine, reason))}\n\nsaved: {engine.path} ({size_mib:.1f} MiB){more}"


def _settings(engine: Artifact, reason: str) -> Iterator[tuple[str, str]]:
    yield "graph", engine.parents[0].name
    yield "backend", f"{engine.backend} {_version(engine)}: {reason}"
    yield "precision", engine.precision
    assert engine.batch is not None
    yield "batch", _batch(engine.batch)
    yield "device", engine.device or ""
    prefix = f"{engine.backend}."
    options = {
        name.removeprefix(prefix): value
        for name, value in engine.settings.items()
        if name.startswith(prefix)
    }
    yield "options", _pairs(options, engine.backend or "")
    yield "check", engine.verified or ""
    yield "took", f"{engine.settings['build.seconds']} s{_peak(engine)}"
    yield "builder", _builder(engine)


def _version(engine: Artifact) -> str:
    package = {"pytorch": "torch"}.get(engine.backend or "", engine.backend or "")
    return engine.versions.get(package, "").partition("-")[0]  # without build numbers


def _batch(batch: Batch) -> str:
    if batch.fixed:
        return str(batch.max)
    return f"{batch.min} to {batch.max}, best at {batch.opt}"


def _pairs(options: Mapping[str, Scalar], backend: str) -> str:
    """Return the options, of many only those that were changed, in words where numbers say less."""
    usual = {field.name: field.default for field in fields(BACKENDS.load(backend).Options)}
    found: dict[str, Scalar] = {name: value for name, value in options.items() if value is not None}
    if len(found) > _MANY:
        found = {name: value for name, value in options.items() if value != usual.get(name)}
    if "threads" in found:
        found["threads"] = found["threads"] or "one for each physical core"
    return ", ".join(f"{name} {value}" for name, value in found.items()) or "none was changed"


def _builder(engine: Artifact) -> str:
    """Return what the builder took in its own process, where it had one."""
    seconds = engine.settings.get("build.builder_seconds")
    peak = engine.settings.get("build.builder_peak_mib")
    if seconds is None:
        return ""
    return f"{seconds} s" + (f", at most {peak} MiB of memory in its own process" if peak else "")


def _peak(engine: Artifact) -> str:
    peak = engine.settings.get("build.process_peak_mib")
    return f", at most {peak} MiB of memory in this process" if peak else ""
