"""Files with provenance: hash, sidecar, all-or-nothing publishing, locking, and finding the newest.

A sidecar ``NAME.json`` lies beside each file ``NAME``. It is written last, so a file without a
sidecar was never finished, and it is checked before the file itself is trusted.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import filelock
import msgspec

from tresnet_deploy import __version__
from tresnet_deploy.contracts import SCHEMA_VERSION, Artifact, FileDigest
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError

T = TypeVar("T")
_LOCK = ".tresnet-deploy.lock"
_PARTIAL = ".partial"
_HASH_CHUNK_BYTES = 1 << 20


def sha256_of(path: Path) -> str:
    """Return the sha256 of the bytes of ``path`` in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def to_json(value: Any) -> bytes:
    """Return a contract type as indented JSON."""
    encoded = msgspec.json.encode(value, enc_hook=lambda part: part.name)
    return msgspec.json.format(encoded, indent=2) + b"\n"


def from_json(data: bytes, kind: type[T], *, name: str) -> T:
    """Return ``data`` as the contract type ``kind``; ``name`` is what an error calls it.

    Raises:
        ArtifactError: the JSON is malformed, of another schema version or of another shape.
    """
    try:
        found = msgspec.json.decode(data)
        version = found.get("schema_version") if isinstance(found, dict) else None
        if version != SCHEMA_VERSION:
            raise ArtifactError(
                f"{name} has schema_version {version!r}; this version reads {SCHEMA_VERSION}",
                hints=("make the file again with this version of tresnet-deploy",),
            )
        return msgspec.convert(found, kind, dec_hook=lambda type_, raw: type_(raw))
    except msgspec.MsgspecError as error:
        raise ArtifactError(f"{name} is not a readable {kind.__name__}: {error}") from error


def sidecar_of(path: Path) -> Path:
    """Return where the sidecar of ``path`` lies."""
    return path.with_name(path.name + ".json")


def read(path: Path) -> Artifact:
    """Return the artefact at ``path`` after checking file and companions against its sidecar.

    Raises:
        UsageError: there is no such file.
        ArtifactError: the sidecar is missing or does not match the bytes.
    """
    sidecar = sidecar_of(path)
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    if not sidecar.is_file():
        raise ArtifactError(
            f"{path} has no sidecar {sidecar.name}: it was not made by tresnet-deploy, "
            "was copied without it, or was never finished",
            hints=(f"copy {sidecar.name} along with it, or build it again",),
        )
    artifact = from_json(sidecar.read_bytes(), Artifact, name=str(sidecar))
    for name, expected in ((path.name, artifact.sha256), *_pairs(artifact.companions)):
        _check_digest(path.with_name(name), expected, sidecar)
    return dataclasses.replace(artifact, path=path)


def _pairs(digests: tuple[FileDigest, ...]) -> Iterator[tuple[str, str]]:
    return ((digest.name, digest.sha256) for digest in digests)


def _check_digest(path: Path, expected: str, sidecar: Path) -> None:
    if path.parent != sidecar.parent or not path.is_file():
        raise ArtifactError(f"{sidecar} names {path.name}, which does not lie beside it")
    actual = sha256_of(path)
    if actual != expected:
        raise ArtifactError(
            f"{path} is not the file that {sidecar.name} describes "
            f"(sha256 {actual[:12]}..., expected {expected[:12]}...)",
            hints=("restore the file or build it again with --overwrite",),
        )


def newest(folder: Path, *, want: Callable[[Artifact], bool], what: str, how: str) -> Artifact:
    """Return the youngest artefact in ``folder`` that ``want`` accepts, fully checked.

    ``what`` names it in the error and ``how`` is the command that makes one.

    Raises:
        UsageError: there is none.
    """
    found: list[tuple[str, Path]] = []
    for sidecar in sorted(folder.glob("*.json")):
        path = sidecar.with_suffix("")
        if path.is_file():
            artifact = from_json(sidecar.read_bytes(), Artifact, name=str(sidecar))
            if want(dataclasses.replace(artifact, path=path)):
                found.append((artifact.created, path))
    if not found:
        raise UsageError(f"there is no {what} in {folder}/", hints=(how,))
    return read(max(found)[1])


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for one writing run; nested use in one process is allowed.

    Raises:
        UnavailableError: another run holds it, or the folder cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / _LOCK, timeout=0, is_singleton=True)
        lock.acquire()
    except filelock.Timeout as error:
        raise UnavailableError(
            f"another tresnet-deploy is writing to {folder}/",
            hints=("wait for it to end, or choose another folder with --output",),
        ) from error
    except OSError as error:
        raise disk_error(error, folder) from error
    try:
        yield
    finally:
        lock.release()


def disk_error(error: OSError, folder: Path) -> UnavailableError:
    """Return ``error`` as one that names ``folder`` and says what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free_mib = shutil.disk_usage(folder).free / 2**20 if folder.exists() else 0
        return UnavailableError(
            f"the disk of {folder}/ is full ({free_mib:.0f} MiB free); nothing was written",
            hints=("free some space, or choose another folder with --output",),
        )
    return UnavailableError(
        f"cannot write to {folder}/: {error.strerror or error}; nothing was written",
        hints=("choose another folder with --output",),
    )


class Staging:
    """A hidden folder beside the target; its files appear together when ``finish`` is called."""

    def __init__(self, target: Path) -> None:
        """Prepare to publish ``target``."""
        self.target = target
        self.folder = target.with_name(f".{target.name}{_PARTIAL}")
        self.path = self.folder / target.name

    def finish(self, artifact: Artifact) -> Artifact:
        """Publish all staged files and return the artefact with hashes, place and time filled in.

        Companions come first, then the file, then the sidecar.
        """
        files = sorted(path for path in self.folder.iterdir() if path.is_file())
        companions = tuple(
            FileDigest(name=path.name, sha256=sha256_of(path))
            for path in files
            if path != self.path
        )
        done = dataclasses.replace(
            artifact,
            path=self.target,
            sha256=sha256_of(self.path),
            companions=companions,
            versions={"tresnet-deploy": __version__, **artifact.versions},
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        sidecar = self.folder / sidecar_of(self.target).name
        sidecar.write_bytes(to_json(done))
        sidecar_of(self.target).unlink(missing_ok=True)
        for path in (*(f for f in files if f != self.path), self.path, sidecar):
            _flush(path)
            path.replace(self.target.with_name(path.name))
        _flush(self.target.parent)
        return done


def _flush(path: Path) -> None:
    if path.is_dir() and sys.platform == "win32":
        return  # Windows cannot open a folder to flush it
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def publishing(target: Path, *, overwrite: bool) -> Iterator[Staging]:
    """Give a :class:`Staging` for ``target``; whatever was not finished is removed.

    Raises:
        UsageError: ``target`` exists and ``overwrite`` is False.
        UnavailableError: another run holds the folder, or the disk refuses.
    """
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already", hints=("add --overwrite to replace it",))
    with locked(target.parent):
        staging = Staging(target)
        try:
            shutil.rmtree(staging.folder, ignore_errors=True)  # left by a killed run
            staging.folder.mkdir()
            yield staging
        except OSError as error:
            raise disk_error(error, target.parent) from error
        finally:
            shutil.rmtree(staging.folder, ignore_errors=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a report or table so that it appears whole or not at all, replacing an older one.

    Raises:
        UnavailableError: the folder cannot be written or the disk is full.
    """
    partial = path.with_name(f".{path.name}{_PARTIAL}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        _flush(partial)
        partial.replace(path)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    finally:
        if partial.parent.is_dir():
            partial.unlink(missing_ok=True)
