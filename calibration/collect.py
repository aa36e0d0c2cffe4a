"""Running images through a graph and watching its activations: one pass, memory bounded.

    images --Session with extra outputs--> activations --Observer, one a tensor--> CalibrationTable
                                                       --reaches, one a channel--> equalisation

Only two images' activations are held at a time, and each observer keeps a histogram of fixed size.
Several methods watch the same pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from tresnet_deploy import __version__
from tresnet_deploy.contracts import (
    Array,
    Batch,
    CalibrationTable,
    Progress,
    Session,
    TensorRange,
    no_progress,
    run,
)
from tresnet_deploy.preprocess import digest
from tresnet_deploy.registry import OBSERVERS

from . import doctor
from .data import Data, Portion
from .observers import Observer

_AT_ONCE: Final = 2  # images; more only need more memory

OpenSession = Callable[[Sequence[str]], Session]
"""Opens the float graph with the named tensors as further outputs."""


@dataclass(slots=True, kw_only=True)
class _Watched:
    """One tensor while it is observed by one or several methods."""

    observers: Mapping[str, Observer]
    low: float = field(default=float("inf"))
    high: float = field(default=float("-inf"))

    def update(self, name: str, values: Array, images: tuple[str, ...]) -> None:
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise doctor.not_finite(name, images)
        self.low, self.high = min(self.low, low), max(self.high, high)
        for observer in self.observers.values():
            observer.update(values)

    def range_of(self, name: str, method: str) -> TensorRange:
        return TensorRange(
            tensor=name,
            amax=self.observers[method].range(),
            observed_min=self.low,
            observed_max=self.high,
        )


def calibrate(
    open_session: OpenSession,
    tensors: Sequence[str],
    data: Data,
    *,
    graph_sha256: str,
    method: str,
    batch: Batch | None = None,
    progress: Progress = no_progress,
) -> CalibrationTable:
    """Return the ranges of ``tensors`` over ``data`` by the observer called ``method``.

    ``batch`` is what the graph takes, None for any. A graph input may be among ``tensors``.

    Raises:
        UsageError: there is no such method.
        ImageError: no image is readable, or one is not and the data is strict.
        QuantizeError: an activation is NaN or infinite.
        RunError: the graph does not run.
    """
    (table,) = calibrate_all(
        open_session,
        tensors,
        data,
        graph_sha256=graph_sha256,
        methods=(method,),
        batch=batch,
        progress=progress,
    )
    return table


def calibrate_all(
    open_session: OpenSession,
    tensors: Sequence[str],
    data: Data,
    *,
    graph_sha256: str,
    methods: Sequence[str],
    batch: Batch | None = None,
    progress: Progress = no_progress,
) -> tuple[CalibrationTable, ...]:
    """Return one table for each of ``methods``, of one pass; otherwise as :func:`calibrate`."""
    factories = {method: OBSERVERS.load(method).Observer for method in methods}
    watched = {
        name: _Watched(observers={method: make() for method, make in factories.items()})
        for name in tensors
    }
    tally = doctor.Tally()
    for portion, values in _activations(open_session, tensors, data, batch, progress):
        tally.update(portion)
        for name, watch in watched.items():
            watch.update(name, values[name], portion.names)
    notes = doctor.notes(tally, data)
    return tuple(
        CalibrationTable(
            method=method,
            ranges=tuple(watch.range_of(name, method) for name, watch in watched.items()),
            images=tally.images,
            skipped=tuple(tally.skipped),
            graph_sha256=graph_sha256,
            dataset_sha256=data.digest(),
            preprocess_sha256=digest(data.preprocess),
            tool_version=__version__,
            notes=notes,
        )
        for method in methods
    )


def reaches(
    open_session: OpenSession,
    tensors: Sequence[str],
    data: Data,
    *,
    batch: Batch | None = None,
    progress: Progress = no_progress,
) -> dict[str, Array]:
    """Return the largest absolute value of each channel (C,) of ``tensors`` (N, C, ...).

    Raises:
        As :func:`calibrate`.
    """
    found: dict[str, Array] = {}
    for portion, values in _activations(open_session, tensors, data, batch, progress):
        for name in tensors:
            channels = np.moveaxis(values[name], 1, 0).reshape(values[name].shape[1], -1)
            reach = np.maximum(channels.max(axis=1), -channels.min(axis=1))
            if not np.isfinite(reach).all():
                raise doctor.not_finite(name, portion.names)
            found[name] = np.maximum(found.get(name, reach), reach)
    return found


def _activations(
    open_session: OpenSession,
    tensors: Sequence[str],
    data: Data,
    batch: Batch | None,
    progress: Progress,
) -> Iterator[tuple[Portion, Mapping[str, Array]]]:
    """Give the input and the named tensors of all images, those that fill a batch up left out."""
    size = max(batch.min, min(batch.max, _AT_ONCE)) if batch else _AT_ONCE
    with _opened(open_session, tensors) as session:
        (spec,) = session.inputs
        for portion in data.portions(size, progress=progress):
            array = filled(portion.array, size if batch and batch.fixed else 0)
            values = {spec.name: array, **run(session, {spec.name: array})}
            yield portion, {name: value[: len(portion.array)] for name, value in values.items()}


@contextmanager
def _opened(open_session: OpenSession, tensors: Sequence[str]) -> Iterator[Session]:
    session = open_session(tensors)
    try:
        yield session
    finally:
        session.close()


def filled(array: Array, size: int) -> Array:
    """Return ``array`` with its last image repeated up to ``size`` images, if it has fewer."""
    missing = size - len(array)
    return array if missing <= 0 else np.concatenate([array, np.repeat(array[-1:], missing, 0)])
