"""Files with provenance: hash, sidecar, all-or-nothing publishing, locking, and finding the newest.

A sidecar ``NAME.json`` lies beside each file ``NAME``. It is written last, so a file without a
sidecar was never finished, and it is checked before the file itself is trusted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import filelock
import msgspec

from tresnet_deploy import __version__, seals
from tresnet_deploy.contracts import SCHEMA_VERSION, Artifact, FileDigest, Scalar
from tresnet_deploy.disk import disk_error, flush, is_about
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError
from tresnet_deploy.hints import output_suffix

T = TypeVar("T")
_LOCK = ".tresnet-deploy.lock"
_PARTIAL = ".partial"
_HASH_CHUNK_BYTES = 1 << 20
# Names of 11,221 classes take about 400 kB; a sidecar of many megabytes is none of ours.
_MAX_SIDECAR_BYTES = 16 << 20
_log = logging.getLogger(__name__)


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
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:  # endless nesting
        raise ArtifactError(f"{name} is not a readable {kind.__name__}: {error}") from error


def sidecar_of(path: Path) -> Path:
    """Return where the sidecar of ``path`` lies."""
    return path.with_name(path.name + ".json")


def read(path: Path) -> Artifact:
    """Return the artefact at ``path`` after checking file and companions against its sidecar.

    Raises:
        UsageError: there is no such file.
        ArtifactError: the sidecar is missing or does not match the bytes.
        UnavailableError: the file or its sidecar cannot be read.
    """
    sidecar = sidecar_of(path)
    try:
        if not path.is_file():
            raise UsageError(f"there is no file {path}")
        if not sidecar.is_file():
            raise ArtifactError(
                f"{path} has no sidecar {sidecar.name}: it was not made by tresnet-deploy, "
                "was copied without it, or was never finished",
                hints=(f"copy {sidecar.name} along with it, or build it again",),
            )
        artifact = _read_sidecar(sidecar, path)
        for digest in (FileDigest(name=path.name, sha256=artifact.sha256), *artifact.companions):
            check_digest(digest, sidecar)
    except OSError as error:
        raise UnavailableError(f"cannot read {path}: {error.strerror or error}") from error
    return artifact


def _read_sidecar(sidecar: Path, path: Path) -> Artifact:
    if sidecar.stat().st_size > _MAX_SIDECAR_BYTES:
        raise ArtifactError(f"{sidecar} is too large to be a sidecar of tresnet-deploy")
    artifact = from_json(sidecar.read_bytes(), Artifact, name=str(sidecar))
    return dataclasses.replace(artifact, path=path)


def check_digest(digest: FileDigest, sidecar: Path) -> None:
    """Refuse a file that is not what ``digest`` says; no sidecar may leave its folder."""
    if digest.name in ("", ".", "..") or any(mark in digest.name for mark in "/\\\0"):
        raise ArtifactError(f"{sidecar} names {digest.name!r}, which is no plain file name")
    path = sidecar.with_name(digest.name)
    if not path.is_file():
        raise ArtifactError(f"{sidecar} names {digest.name}, which does not lie beside it")
    actual = sha256_of(path)
    if actual != digest.sha256:
        raise ArtifactError(
            f"{path} is not the file that {sidecar.name} describes "
            f"(sha256 {actual[:12]}..., expected {digest.sha256[:12]}...)",
            hints=("restore the file or build it again with --overwrite",),
        )


def listed(folder: Path, *, want: Callable[[Artifact], bool]) -> tuple[Artifact, ...]:
    """Return the artefacts in ``folder`` that ``want`` accepts, oldest first, hashes not checked.

    A sidecar that cannot be read is passed over with a warning: it must not block all others.
    """
    found: list[Artifact] = []
    for sidecar in folder.glob("*.json"):
        path = sidecar.with_suffix("")
        try:
            if path.is_file() and want(artifact := _read_sidecar(sidecar, path)):
                found.append(artifact)
        except (ArtifactError, OSError) as error:
            _log.warning("passing over %s: %s", path, error)
    return tuple(sorted(found, key=lambda artifact: (artifact.created, artifact.path)))


def told_apart(paths: Iterable[Path]) -> dict[Path, str]:
    """Return what to call each file: its name, and its folder too where another has that name.

    Folders are given from the one on that all such files lie in.
    """
    paths = tuple(paths)
    alike = Counter(path.name for path in paths)
    places = [path.resolve().parent for path in paths if alike[path.name] > 1]
    top = os.path.commonpath(places) if places else ""
    return {
        path: path.name if alike[path.name] == 1 else str(path.resolve().relative_to(top))
        for path in paths
    }


def newest(folder: Path, *, want: Callable[[Artifact], bool], what: str, how: str) -> Artifact:
    """Return the youngest artefact in ``folder`` that ``want`` accepts, fully checked.

    Raises:
        UsageError: there is none; ``what`` names it and ``how`` is the command that makes one in
            the default folder.
    """
    found = listed(folder, want=want)
    if not found:
        raise UsageError(f"there is no {what} in {folder}/", hints=(how + output_suffix(folder),))
    return read(found[-1].path)


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


class Staging:
    """A hidden folder beside the target; its files appear together when ``finish`` is called."""

    def __init__(self, target: Path, *, overwrite: bool) -> None:
        """Prepare to publish ``target``."""
        self.target = target
        self.overwrite = overwrite
        self.folder = target.with_name(f".{target.name}{_PARTIAL}")
        self.path = self.folder / target.name

    def finish(self, artifact: Artifact) -> Artifact:
        """Publish all staged files and return the artefact with hashes, place and time filled in.

        Companions come first, then the file, then the sidecar: a run that is killed in between
        leaves a file without a sidecar, which no command takes for a finished one.

        Raises:
            UsageError: a companion would replace another file and overwriting was not asked for.
        """
        assert self.path.is_file(), f"the step has written no {self.path.name}"
        companions = tuple(
            path for path in sorted(self.folder.iterdir()) if path.is_file() and path != self.path
        )
        done = dataclasses.replace(
            artifact,
            path=self.target,
            sha256=sha256_of(self.path),
            companions=tuple(FileDigest(name=p.name, sha256=sha256_of(p)) for p in companions),
            versions={"tresnet-deploy": __version__, **artifact.versions},
            created=datetime.now(UTC).isoformat(timespec="microseconds"),
        )
        sidecar = self.folder / sidecar_of(self.target).name
        sidecar.write_bytes(seals.sealed(to_json(done)))
        staged = (*companions, self.path, sidecar)
        for path in staged:
            if not self.overwrite:
                _refuse_existing(self.target.with_name(path.name))
            flush(path)
        sidecar_of(self.target).unlink(missing_ok=True)
        for path in staged:
            path.replace(self.target.with_name(path.name))
        flush(self.target.parent)
        return done


def described_anew(artifact: Artifact, settings: Mapping[str, Scalar]) -> Artifact:
    """Return a finished file with other settings in its sidecar; the file itself stays.

    Raises:
        UnavailableError: the folder cannot be written.
    """
    done = dataclasses.replace(artifact, settings=dict(settings))
    write_whole(sidecar_of(done.path), seals.sealed(to_json(done)))
    return done


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise UsageError(f"{path} exists already", hints=("add --overwrite to replace it",))


@contextmanager
def publishing(target: Path, *, overwrite: bool) -> Iterator[Staging]:
    """Give a :class:`Staging` for ``target``; whatever was not finished is removed.

    Raises:
        UsageError: ``target`` or its sidecar exists and ``overwrite`` is False.
        UnavailableError: another run holds the folder, or the disk refuses.
    """
    staging = Staging(target, overwrite=overwrite)
    with locked(target.parent):
        try:
            for path in () if overwrite else (target, sidecar_of(target)):
                _refuse_existing(path)
            shutil.rmtree(staging.folder, ignore_errors=True)  # left by a killed run
            staging.folder.mkdir()
            yield staging
        except OSError as error:
            if not is_about(error, target.parent):
                raise  # the step's own trouble, such as an image that cannot be read
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
        flush(partial)
        partial.replace(path)
        flush(path.parent)
    except OSError as error:
        raise disk_error(error, path.parent) from error
    finally:
        with suppress(OSError):  # the folder itself may be missing or out of reach
            partial.unlink(missing_ok=True)
