"""What ``build-engine`` prints for people: the choices that were made, and the proof."""

from __future__ import annotations

from collections.abc import Iterator

from tresnet_deploy.cli._inspection_text import facts
from tresnet_deploy.contracts import Artifact

_MIB = 2**20


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
    yield "batch", _batch(engine)
    yield "device", engine.device or ""
    yield "options", _options(engine)
    yield "check", engine.verified or ""
    yield "took", f"{engine.settings['build.seconds']} s{_peak(engine)}"


def _version(engine: Artifact) -> str:
    package = {"pytorch": "torch"}.get(engine.backend or "", engine.backend or "")
    return engine.versions.get(package, "").partition("-")[0]  # without build numbers


def _batch(engine: Artifact) -> str:
    batch = engine.batch
    assert batch is not None
    if batch.fixed:
        return str(batch.max)
    return f"{batch.min} to {batch.max}, best at {batch.opt}"


def _options(engine: Artifact) -> str:
    prefix = f"{engine.backend}."
    found = {
        name.removeprefix(prefix): value
        for name, value in engine.settings.items()
        if name.startswith(prefix)
    }
    found["threads"] = found.get("threads") or "one for each physical core"
    return ", ".join(f"{name} {value}" for name, value in found.items())


def _peak(engine: Artifact) -> str:
    peak = engine.settings.get("build.process_peak_mib")
    return f", at most {peak} MiB of memory in this process" if peak else ""
