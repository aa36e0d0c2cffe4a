"""What made the files of a folder: this file is about reusing them after an interrupted run.

The ledger keeps, for each file, a key over everything that decides its bytes: step, settings,
parents and versions. A file is reused only when its key is the same and its bytes are those that
were written then.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import SCHEMA_VERSION, Artifact
from tresnet_deploy.errors import ArtifactError, UsageError

FILE: Final = "deploy.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """Keys by file name."""

    keys: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = SCHEMA_VERSION


def key_of(step: str, *parts: object) -> str:
    """Return the key of a file that ``step`` makes from ``parts``, which must have a JSON form."""
    digest = hashlib.sha256(step.encode())
    for part in parts:
        digest.update(b"\n" + artifacts.to_json(part))
    return digest.hexdigest()


def known(target: Path, key: str) -> Artifact | None:
    """Return the finished file at ``target`` if it was made under ``key``, None if there is none.

    Raises:
        UsageError: the file was made under another key, or is not the one that was made.
    """
    if not target.exists():
        return None
    if read(target.parent).keys.get(target.name) != key:
        raise UsageError(
            f"{target} exists already, made by other settings, files or versions",
            hints=(
                "add --overwrite to make everything anew",
                "choose another folder with --output",
            ),
        )
    return artifacts.read(target)


def read(folder: Path) -> Ledger:
    """Return the ledger of ``folder``; one that is missing or damaged is empty."""
    path = folder / FILE
    if not path.is_file():
        return Ledger()
    try:
        return artifacts.from_json(path.read_bytes(), Ledger, name=str(path))
    except ArtifactError as error:
        _log.warning("passing over %s: %s", path, error.message)
        return Ledger()


def add(target: Path, key: str) -> None:
    """Note that ``target`` was made under ``key``.

    Raises:
        UnavailableError: the folder cannot be written.
    """
    keys = {**read(target.parent).keys, target.name: key}
    artifacts.write_whole(target.parent / FILE, artifacts.to_json(Ledger(keys=keys)))
