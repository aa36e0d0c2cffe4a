"""A bundle as one .tar file: written the same on every machine, unpacked without trusting it."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tresnet_deploy.artifacts import locked
from tresnet_deploy.disk import disk_error
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError
from tresnet_deploy.packaging.manifest import is_inside

SUFFIX: Final = ".tar"
_MODE: Final = 0o644
_MOST_FILES: Final = 100_000


def write(folder: Path, target: Path, *, overwrite: bool) -> None:
    """Write all files of ``folder`` into ``target``, which appears whole or not at all.

    Names are sorted, times and owners are zero: the same files make the same archive.

    Raises:
        UsageError: ``target`` exists and ``overwrite`` is False, or it is no archive.
        UnavailableError: the disk refuses, or another run writes there.
    """
    partial = target.with_name(f".{target.name}.partial")
    with locked(target.parent):
        try:
            _refuse(target, overwrite=overwrite)
            with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as archive:
                for path in sorted(folder.rglob("*")):
                    if path.is_file():
                        _add(archive, path, path.relative_to(folder).as_posix())
            with partial.open("rb") as written:
                os.fsync(written.fileno())
            partial.replace(target)
        except OSError as error:
            raise disk_error(error, target.parent) from error
        finally:
            partial.unlink(missing_ok=True)


def _refuse(target: Path, *, overwrite: bool) -> None:
    if target.exists() and not target.is_file():
        raise UsageError(
            f"{target} exists already and is not replaced: it is no file",
            hints=("choose another place with --to",),
        )
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already", hints=("add --overwrite to replace it",))


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = path.stat().st_size, _MODE
    with path.open("rb") as file:
        archive.addfile(entry, file)


@contextmanager
def opened(bundle: Path) -> Iterator[Path]:
    """Give the folder of ``bundle``: itself, or what its archive holds, unpacked for this while.

    Raises:
        UsageError: there is nothing at ``bundle``.
        ArtifactError: it is no archive, or one with links, devices or names that leave it.
        UnavailableError: there is no room to unpack it.
    """
    if bundle.is_dir():
        yield bundle
        return
    if not bundle.is_file():
        raise UsageError(
            f"there is no bundle {bundle}", hints=("tresnet-deploy package --format bundle",)
        )
    with TemporaryDirectory(prefix="tresnet-deploy-") as place:
        _unpack(bundle, Path(place))
        yield Path(place)


def _unpack(bundle: Path, folder: Path) -> None:
    try:
        with tarfile.open(bundle, "r:") as archive:
            members = _checked(archive, bundle)
            _check_room(members, folder, bundle)
            for member in members:
                archive.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError) as error:
        raise ArtifactError(
            f"{bundle} is no bundle, or a damaged one: {error}", hints=("copy it again",)
        ) from error
    except OSError as error:
        raise UnavailableError(f"cannot unpack {bundle}: {error.strerror or error}") from error


def _checked(archive: tarfile.TarFile, bundle: Path) -> list[tarfile.TarInfo]:
    """Return the files of ``archive``; refuse all of it when one entry is not a plain file."""
    members: list[tarfile.TarInfo] = []
    for member in archive:
        if not member.isfile() or not is_inside(member.name):
            raise ArtifactError(
                f"{bundle} holds {member.name!r}, which is no plain file inside it: refused, since "
                "unpacking it could write elsewhere"
            )
        members.append(member)
        if len(members) > _MOST_FILES:
            raise ArtifactError(f"{bundle} holds more than {_MOST_FILES} files: it is no bundle")
    return members


def _check_room(members: list[tarfile.TarInfo], folder: Path, bundle: Path) -> None:
    needed_mib = sum(member.size for member in members) / 2**20
    free_mib = shutil.disk_usage(folder).free / 2**20
    if needed_mib > free_mib:
        raise UnavailableError(
            f"unpacking {bundle} takes {needed_mib:.0f} MiB, and {folder.parent} has "
            f"{free_mib:.0f} MiB free",
            hints=("set TMPDIR to a folder with more room",),
        )
