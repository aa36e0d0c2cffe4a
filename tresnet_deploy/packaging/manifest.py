"""What a bundle says of itself: its files with their hashes, and how the engine was built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from tresnet_deploy import artifacts, seals
from tresnet_deploy.contracts import SCHEMA_VERSION, Batch, FileDigest, Precision, Scalar
from tresnet_deploy.errors import ArtifactError, UsageError
from tresnet_deploy.inspection import Verdict

NAME: Final = "bundle.json"
LOCAL_OPTIONS: Final = ("timing_cache", "runtime_cache", "overflow_safe")
"""Options of one machine, its files and what its processor needs: they do not travel, and a bundle
that has them anyway must not choose what is written here."""

_MAX_BYTES: Final = 16 << 20  # of thousands of images; a manifest of more is none of ours


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleManifest:
    """All that building the engine anew takes; names are paths within the bundle.

    ``options`` are those of ``backend``. ``table`` is the calibration table of an INT8 graph,
    ``weights`` the checkpoint that the graph was exported from, ``images`` a folder to compare on;
    each is None where the bundle has none. ``verdict`` is None where the engine was not compared.
    """

    engine: str
    engine_sha256: str
    architecture: str
    backend: str
    precision: Precision
    batch: Batch
    graph: str
    files: tuple[FileDigest, ...]
    options: Mapping[str, Scalar] = field(default_factory=dict)
    device: str | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    table: str | None = None
    weights: str | None = None
    images: str | None = None
    labels: str | None = None
    verdict: Verdict | None = None
    created: str = ""
    schema_version: int = SCHEMA_VERSION


def write(manifest: BundleManifest, folder: Path) -> None:
    """Write the manifest, sealed, into ``folder``."""
    (folder / NAME).write_bytes(seals.sealed(artifacts.to_json(manifest)))


def read(folder: Path) -> BundleManifest:
    """Return the manifest in ``folder`` after checking every file that it names.

    Raises:
        UsageError: ``folder`` is no bundle.
        ArtifactError: the manifest is malformed or was edited, or a file is missing, is not what
            its hash says, or lies outside the bundle.
    """
    path = folder / NAME
    if not path.is_file():
        raise UsageError(
            f"{folder} is no bundle: it holds no {NAME}",
            hints=("tresnet-deploy package --format bundle",),
        )
    if path.stat().st_size > _MAX_BYTES:
        raise ArtifactError(f"{path} is too large to be a manifest of tresnet-deploy")
    data = path.read_bytes()
    manifest = artifacts.from_json(data, BundleManifest, name=str(path))
    if seals.is_broken(data):
        raise ArtifactError(
            f"{path} was edited after the bundle was packed, so nothing in it can be trusted",
            hints=("pack it again: tresnet-deploy package --format bundle --overwrite",),
        )
    _check_fields(manifest, path)
    for digest in manifest.files:
        _check(digest, folder)
    return manifest


def _check_fields(manifest: BundleManifest, path: Path) -> None:
    """Refuse a manifest that uses a file whose hash it does not give, or makes no sense."""
    known = {digest.name for digest in manifest.files}
    used = (manifest.graph, f"{manifest.graph}.json", manifest.table, manifest.weights)
    for name in used:
        if name is not None and name not in known:
            raise ArtifactError(f"{path} uses {name!r} and gives no sha256 of it")
    batch = manifest.batch
    if not 1 <= batch.min <= batch.opt <= batch.max:
        raise ArtifactError(
            f"{path} has the batches {batch.min}:{batch.opt}:{batch.max}, which do not rise from 1"
        )
    if manifest.images is not None and not is_inside(manifest.images):
        raise ArtifactError(f"{path} names {manifest.images!r}, which lies outside the bundle")


def _check(digest: FileDigest, folder: Path) -> None:
    path = folder / digest.name
    if not is_inside(digest.name) or path.is_symlink():
        raise ArtifactError(f"{folder / NAME} names {digest.name!r}, which is no file inside it")
    if not path.is_file():
        raise ArtifactError(f"{folder} lacks {digest.name}, which its {NAME} lists")
    actual = artifacts.sha256_of(path)
    if actual != digest.sha256:
        raise ArtifactError(
            f"{path} is not the file that was packed "
            f"(sha256 {actual[:12]}..., expected {digest.sha256[:12]}...)",
            hints=("copy the bundle again",),
        )


def is_inside(name: str) -> bool:
    """Return whether ``name`` is a plain relative path that stays where it starts."""
    path = PurePosixPath(name)
    return (
        name not in ("", ".")
        and not path.is_absolute()
        and ".." not in path.parts
        and not any(mark in name for mark in ("\\", "\0", ":"))
    )
