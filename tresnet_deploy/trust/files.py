"""Whether the bytes are those that were built: hashes, seal, header and parents of an engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tresnet_deploy import artifacts, seals
from tresnet_deploy.contracts import Artifact, FileDigest
from tresnet_deploy.errors import ArtifactError
from tresnet_deploy.trust.headers import (
    PlanHeader,
    described_beginning,
    layout_is_known,
    numbers,
    read_header,
)
from tresnet_deploy.trust.machine import PLAN_BACKENDS
from tresnet_deploy.trust.reports import Finding

_SHOWN_HASH: Final = 12


def bytes_of(artifact: Artifact) -> Iterator[Finding]:
    """Give what the hashes of the engine, its companions and its sidecar tell."""
    sidecar = artifacts.sidecar_of(artifact.path)
    try:
        for digest in (_own_digest(artifact), *artifact.companions):
            artifacts.check_digest(digest, sidecar)
    except ArtifactError as error:
        yield Finding(check="sha256", outcome="bad", detail=error.message, about="file")
        return
    files = ", ".join((artifact.path.name, *(each.name for each in artifact.companions)))
    yield Finding(
        check="sha256",
        outcome="ok",
        detail=f"{artifact.sha256[:_SHOWN_HASH]}..., as the sidecar says ({files})",
        about="file",
    )


def seal_of(artifact: Artifact) -> Iterator[Finding]:
    """Give whether the sidecar is as it was written."""
    sidecar = artifacts.sidecar_of(artifact.path)
    if not sidecar.is_file():
        return
    if seals.is_broken(sidecar.read_bytes()):
        yield Finding(
            check="sidecar",
            outcome="bad",
            detail=f"{sidecar} was edited after the build: what it says of the engine may be wrong",
            about="file",
        )
    else:
        yield Finding(check="sidecar", outcome="ok", detail="not edited since the build")


def header_of(artifact: Artifact) -> tuple[PlanHeader | None, tuple[Finding, ...]]:
    """Return the header of a TensorRT plan and what it tells; nothing for engines of CPUs."""
    if artifact.backend not in PLAN_BACKENDS:
        return None, ()
    header = read_header(artifact.path)
    if header is None:
        detail = f"{artifact.path} is no TensorRT plan: {described_beginning(artifact.path)}"
        return None, (_bad(detail),)
    finding = _judged(artifact, header)
    if finding.outcome == "unknown":  # then the other fields mean nothing either
        header = PlanHeader(runtime=header.runtime, version=header.version)
    return header, (finding,)


def _judged(artifact: Artifact, header: PlanHeader) -> Finding:
    name = artifact.path
    if header.runtime != artifact.backend:
        return _bad(
            f"{name} is a plan of {header.runtime}, and its sidecar calls it one of "
            f"{artifact.backend}"
        )
    recorded = numbers(artifact.versions.get(header.runtime, ""))
    if recorded and recorded[: len(header.version)] != header.version:
        words = f"{header.runtime} {header.version_text}, and its sidecar says {_text(recorded)}"
        if layout_is_known(header.runtime, recorded):
            return _bad(f"{name} was built by {words}")
        return Finding(check="header", outcome="unknown", detail=f"it reads as one of {words}")
    size = name.stat().st_size
    if header.size is not None and header.size != size:
        return _bad(
            f"{name} has {size} bytes and its header says {header.size}: "
            + ("it is truncated" if size < header.size else "something was added to it")
        )
    told = f", {size} bytes" if header.size is not None else ""
    return Finding(
        check="header",
        outcome="ok",
        detail=f"a plan of {header.runtime} {header.version_text}{told}",
        about="file",
    )


def _text(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def parents_of(artifact: Artifact) -> Iterator[Finding]:
    """Give whether the files that the engine was made from lie beside it, unchanged."""
    for parent in artifact.parents:
        path = beside(artifact.path, parent.name)
        if path is None or not path.is_file():
            detail = f"{parent.name} does not lie beside the engine"
        elif artifacts.sha256_of(path) == parent.sha256:
            yield Finding(check="made from", outcome="ok", detail=f"{parent.name}, unchanged")
            continue
        else:
            detail = f"{parent.name} has changed since: the engine is of an older one"
        yield Finding(check="made from", outcome="note", detail=detail)


def beside(engine: Path, name: str) -> Path | None:
    """Return where a file called ``name`` lies beside ``engine``, never out of its folder."""
    plain = Path(name).name
    return None if plain in ("", "..") or "\0" in plain else engine.with_name(plain)


def _own_digest(artifact: Artifact) -> FileDigest:
    return FileDigest(name=artifact.path.name, sha256=artifact.sha256)


def _bad(detail: str) -> Finding:
    return Finding(check="header", outcome="bad", detail=detail, about="file")
