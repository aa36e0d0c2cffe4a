"""A folder that appears whole or not at all, as ``artifacts.publishing`` does for a file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tresnet_deploy.artifacts import locked
from tresnet_deploy.disk import disk_error, flush
from tresnet_deploy.errors import UsageError


@contextmanager
def publishing(target: Path, *, marker: str, overwrite: bool) -> Iterator[Path]:
    """Give an empty hidden folder that becomes ``target`` when all went well.

    ``marker`` is a file that every such folder holds: one without it is somebody else's and is
    never replaced, ``overwrite`` or not. A run that is killed while it replaces an older folder
    leaves that one hidden; the next run puts it back.

    Raises:
        UsageError: ``target`` exists and may not be replaced.
        UnavailableError: another run holds the folder around it, or the disk refuses.
    """
    partial = target.with_name(f".{target.name}.partial")
    replaced = target.with_name(f".{target.name}.replaced")
    with locked(target.parent):
        try:
            if replaced.exists() and not target.exists():
                replaced.rename(target)
            _refuse(target, marker, overwrite=overwrite)
            shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
            partial.mkdir()
            yield partial
            assert (partial / marker).is_file(), f"the step has written no {marker}"
            for path in (*partial.rglob("*"), partial):
                flush(path)
            if target.exists():
                target.rename(replaced)
            partial.rename(target)
        except OSError as error:
            raise disk_error(error, target.parent) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if target.exists():
                shutil.rmtree(replaced, ignore_errors=True)


def _refuse(target: Path, marker: str, *, overwrite: bool) -> None:
    if not (target.exists() or target.is_symlink()):
        return
    if target.is_symlink() or not (target / marker).is_file():
        raise UsageError(
            f"{target} exists already and is not replaced: it holds no {marker}, so tresnet-deploy "
            "did not make it",
            hints=("choose another place with --to",),
        )
    if not overwrite:
        raise UsageError(f"{target} exists already", hints=("add --overwrite to replace it",))
