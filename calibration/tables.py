"""The calibration table of a graph: from the cache where there is one, else made and kept."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from tresnet_deploy.contracts import Batch, CalibrationTable, Progress, no_progress

from . import cache, doctor
from .collect import OpenSession, calibrate_all
from .data import Data

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
    (table,) = tables_for(
        folder,
        open_session,
        tensors,
        data,
        graph_sha256=graph_sha256,
        methods=(method,),
        batch=batch,
        progress=progress,
    )
    warn(table)
    return table


def tables_for(
    folder: Path,
    open_session: OpenSession,
    tensors: Sequence[str],
    data: Data,
    *,
    graph_sha256: str,
    methods: Sequence[str],
    batch: Batch | None = None,
    progress: Progress = no_progress,
) -> tuple[CalibrationTable, ...]:
    """Return one table for each of ``methods``, those that are not cached made in one pass.

    Nothing is warned of; otherwise as :func:`table_for`.
    """
    keys = {method: cache.Key.of(graph_sha256, data, method, tensors) for method in methods}
    found = {method: cache.load(folder, key) for method, key in keys.items()}
    tables = {
        method: table
        for method, table in found.items()
        if table is not None and not (data.strict and table.skipped)
    }
    for method in tables:
        _log.info("calibration table taken from %s", keys[method].path(folder))
    missing = [method for method in methods if method not in tables]
    if missing:
        made = calibrate_all(
            open_session,
            tensors,
            data,
            graph_sha256=graph_sha256,
            methods=missing,
            batch=batch,
            progress=progress,
        )
        for table in made:
            cache.save(folder, keys[table.method], table)
            tables[table.method] = table
    return tuple(tables[method] for method in methods)


def dead_tensors(table: CalibrationTable) -> frozenset[str]:
    """Return the tensors that were 0 on every image: there is no range to quantise them by."""
    return frozenset(entry.tensor for entry in table.ranges if not entry.amax)


def warn(table: CalibrationTable) -> None:
    """Log what the user should know about images and ranges."""
    for note in table.notes:
        _log.warning("%s", note)
    for skipped in table.skipped:
        _log.warning("skipped: %s", skipped)
    for finding in doctor.of_ranges(table):
        _log.warning("%s", finding)
