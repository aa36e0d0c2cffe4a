"""The calibration table of a graph: from the cache where there is one, else made and kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tresnet_deploy.contracts import Batch, CalibrationTable, Progress, no_progress

from . import cache
from .collect import OpenSession, calibrate
from .data import Data

_LISTED: Final = 3  # names in a message; the table has them all

_log = logging.getLogger(__name__)


def table_for(
    folder: Path,
    open_session: OpenSession,
    tensors: Sequence[str],
    data: Data,
    *,
    graph_sha256: str,
    method: str,
    batch: Batch | None = None,
    progress: Progress = no_progress,
) -> CalibrationTable:
    """Return the table of these ``tensors``, kept below ``folder``; a cached one may be reused.

    A table with skipped images is not reused where the data is strict. What the user should know
    about the images and ranges is logged as warnings, from a cached table as well.

    Raises:
        As :func:`calibrate`; UnavailableError where the folder cannot be written.
    """
    key = cache.Key.of(graph_sha256, data, method, tensors)
    table = cache.load(folder, key)
    if table is not None and not (data.strict and table.skipped):
        _log.info("calibration table taken from %s", key.path(folder))
    else:
        table = calibrate(
            open_session,
            tensors,
            data,
            graph_sha256=graph_sha256,
            method=method,
            batch=batch,
            progress=progress,
        )
        cache.save(folder, key, table)
    _warn(table)
    return table


def dead_tensors(table: CalibrationTable) -> frozenset[str]:
    """Return the tensors that were 0 on every image: there is no range to quantise them by."""
    return frozenset(entry.tensor for entry in table.ranges if not entry.amax)


def _warn(table: CalibrationTable) -> None:
    for note in table.notes:
        _log.warning("%s", note)
    for skipped in table.skipped:
        _log.warning("skipped: %s", skipped)
    dead = sorted(dead_tensors(table))
    if dead:
        more = f", ... ({len(dead)} in all)" if len(dead) > _LISTED else ""
        _log.warning(
            "0 on all calibration images, so what reads them stays float: %s%s",
            ", ".join(dead[:_LISTED]),
            more,
        )
