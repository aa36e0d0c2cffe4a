"""Running images through a graph and watching its activations: one pass, memory bounded.

    images --Session with extra outputs--> activations --Observer, one a tensor--> CalibrationTable

Only two images' activations are held at a time, and each observer keeps a histogram of fixed size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from tresnet_deploy.errors import QuantizeError
from tresnet_deploy.preprocess import digest
from tresnet_deploy.registry import OBSERVERS

from .data import Data, Noise, Portion
from .observers import Observer

FEW_IMAGES: Final = 32  # below it amax still grows by several percent with each further image

_AT_ONCE: Final = 2  # images; more only need more memory

OpenSession = Callable[[Sequence[str]], Session]
"""Opens the float graph with the named tensors as further outputs."""


@dataclass(slots=True, kw_only=True)
class _Watched:
    """One tensor while it is observed."""

    observer: Observer
    low: float = field(default=float("inf"))
    high: float = field(default=float("-inf"))

    def update(self, name: str, values: Array, images: tuple[str, ...]) -> None:
        low, high = float(values.min()), float(values.max())
        if not np.isfinite(low) or not np.isfinite(high):
            raise QuantizeError(
                f"the activation {name} is NaN or infinite in the float graph itself "
                f"(images: {', '.join(images)})",
                hints=("check the checkpoint: tresnet-deploy inspect FILE",),
            )
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.observer.update(values)

    def range_of(self, name: str) -> TensorRange:
        return TensorRange(
            tensor=name,
            amax=self.observer.range(),
            observed_min=self.low,
            observed_max=self.high,
        )


@dataclass(slots=True)
class _Tally:
    """What is noticed about the images on the way."""

    images: int = 0
    plain: int = 0
    skipped: list[str] = field(default_factory=list)

    def update(self, portion: Portion) -> None:
        flat = portion.array.reshape(len(portion.array), -1)
        self.images += len(flat)
        self.plain += int((flat.max(axis=1) == flat.min(axis=1)).sum())
        self.skipped.extend(portion.skipped)


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
    factory = OBSERVERS.load(method).Observer
    watched = {name: _Watched(observer=factory()) for name in tensors}
    tally = _Tally()
    size = max(batch.min, min(batch.max, _AT_ONCE)) if batch else _AT_ONCE
    with _opened(open_session, tensors) as session:
        (spec,) = session.inputs
        for portion in data.portions(size, progress=progress):
            tally.update(portion)
            array = filled(portion.array, size if batch and batch.fixed else 0)
            values = {spec.name: array, **run(session, {spec.name: array})}
            for name, watch in watched.items():
                # Only the rows of real images count, not those that fill a fixed batch up.
                real = values[name][: len(portion.array)]
                watch.update(name, real, portion.names)
    return CalibrationTable(
        method=method,
        ranges=tuple(watch.range_of(name) for name, watch in watched.items()),
        images=tally.images,
        skipped=tuple(tally.skipped),
        graph_sha256=graph_sha256,
        dataset_sha256=data.digest(),
        preprocess_sha256=digest(data.preprocess),
        tool_version=__version__,
        notes=_notes(tally, data),
    )


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


def _notes(tally: _Tally, data: Data) -> tuple[str, ...]:
    """Return what the user should know about the images."""
    notes = []
    if isinstance(data, Noise):
        notes.append("calibrated on random noise: speed and size are real, accuracy is not")
    elif tally.images < FEW_IMAGES and not data.images.is_sample:
        notes.append(f"calibrated on only {tally.images} images: ranges settle with a few hundred")
    if tally.plain:
        which = "all" if tally.plain == tally.images else f"{tally.plain} of {tally.images}"
        notes.append(f"{which} calibration images show one plain colour (black frames?)")
    return tuple(notes)
