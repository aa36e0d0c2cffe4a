"""Calibration tables on disk: reused only for the same graph, images, preprocessing and method."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy import __version__
from tresnet_deploy.artifacts import from_json, to_json, write_whole
from tresnet_deploy.contracts import CalibrationTable
from tresnet_deploy.errors import ArtifactError
from tresnet_deploy.preprocess import digest

from .data import Data

FOLDER: Final = "calibration"

_KEY_LETTERS: Final = 16  # 64 bits: no two tables of one folder will ever meet

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """All that a table depends on."""

    graph_sha256: str
    dataset_sha256: str
    preprocess_sha256: str
    method: str
    tensors: tuple[str, ...]

    @classmethod
    def of(cls, graph_sha256: str, data: Data, method: str, tensors: Sequence[str]) -> Key:
        """Return the key of the table that :func:`calibrate` would make of these."""
        return cls(
            graph_sha256=graph_sha256,
            dataset_sha256=data.digest(),
            preprocess_sha256=digest(data.preprocess),
            method=method,
            tensors=tuple(tensors),
        )

    def path(self, folder: Path) -> Path:
        """Return where the table lies below the artefact folder ``folder``."""
        parts = (
            self.graph_sha256,
            self.dataset_sha256,
            self.preprocess_sha256,
            self.method,
            __version__,
            *self.tensors,
        )
        name = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:_KEY_LETTERS]
        return folder / FOLDER / f"{name}.json"

    def fits(self, table: CalibrationTable) -> bool:
        """Whether ``table`` is the one of this key."""
        return (
            table.graph_sha256 == self.graph_sha256
            and table.dataset_sha256 == self.dataset_sha256
            and table.preprocess_sha256 == self.preprocess_sha256
            and table.method == self.method
            and table.tool_version == __version__
            and tuple(entry.tensor for entry in table.ranges) == self.tensors
        )


def load(folder: Path, key: Key) -> CalibrationTable | None:
    """Return the table of ``key``, or None where there is none that can be used."""
    path = key.path(folder)
    if not path.is_file():
        return None
    try:
        table = from_json(path.read_bytes(), CalibrationTable, name=str(path))
    except ArtifactError as error:
        _log.warning("calibrating again: %s", error.message)
        return None
    if not key.fits(table):
        _log.warning("calibrating again: %s belongs to something else", path)
        return None
    if not all(math.isfinite(entry.amax) and entry.amax >= 0 for entry in table.ranges):
        _log.warning("calibrating again: %s has ranges that nothing measured", path)
        return None
    return table


def save(folder: Path, key: Key, table: CalibrationTable) -> Path:
    """Write ``table`` whole, and return where.

    Raises:
        UnavailableError: the folder cannot be written.
    """
    path = key.path(folder)
    write_whole(path, to_json(table))
    return path
