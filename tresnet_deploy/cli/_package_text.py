"""What ``package`` and ``rebuild`` print for people."""

from __future__ import annotations

from collections.abc import Iterator

from tresnet_deploy.cli._inspection_text import facts
from tresnet_deploy.cli._tables import percent
from tresnet_deploy.inspection import Verdict
from tresnet_deploy.packaging import Packed, Rebuilt, Repository


def bundle_text(packed: Packed) -> str:
    """Return what the bundle holds, and where it lies."""
    return f"{facts(_bundle(packed))}\n\nsaved: {packed.path}"


def triton_text(repository: Repository) -> str:
    """Return what Triton will serve, and where it lies."""
    pairs = (
        ("model", repository.name),
        ("file", f"{repository.model.name} (sha256 {repository.model.sha256[:16]}...)"),
        ("proof", repository.proof),
    )
    return f"{facts(pairs)}\n\n{repository.config}\nsaved: {repository.path}/"


def rebuilt_text(rebuilt: Rebuilt) -> str:
    """Return what was built here, beside what was packed."""
    engine, packed = rebuilt.engine, rebuilt.manifest
    pairs = (
        ("packed", f"{packed.engine}, built by {packed.backend} on {packed.device or 'unknown'}"),
        ("said there", _said(packed.verdict)),
        ("built here", f"{engine.path.name}, by {engine.backend} on {engine.device}"),
        ("check", engine.verified or ""),
        ("compared", "" if rebuilt.not_compared is None else f"no: {rebuilt.not_compared}"),
    )
    return f"{facts(pairs)}\n\nsaved: {engine.path}"


def _bundle(packed: Packed) -> Iterator[tuple[str, str]]:
    manifest = packed.manifest
    yield "engine", f"{manifest.engine}, to be built anew by {manifest.backend}"
    yield "graph", manifest.graph
    yield "calibration", manifest.table or ""
    yield "labels", manifest.labels or ""
    yield "weights", manifest.weights or ""
    yield "images", manifest.images or ""
    yield "parity", _said(manifest.verdict)
    yield "files", str(len(manifest.files))


def _said(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not compared"
    word = "passed" if verdict.passed else f"failed ({', '.join(verdict.failed_gates)})"
    return f"{word}: same top-1 on {percent(verdict.top1_agreement)} of {verdict.images} images"
