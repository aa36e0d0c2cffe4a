"""Feeds are checked against what a session takes, before a runtime gives its own cryptic error."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from tresnet_deploy.contracts import Array, Batch, Feeds, TensorSpec
from tresnet_deploy.errors import RunError, UsageError

Symbols = dict[str, int]
Held = TypeVar("Held")


def check(inputs: Sequence[TensorSpec], feeds: Feeds, *, batch: Batch | None = None) -> Symbols:
    """Return the size of each symbolic dimension in ``feeds``; ``batch`` bounds the first axis.

    Raises:
        UsageError: a name, dtype, shape or batch size is not one that the session takes.
    """
    names = {spec.name for spec in inputs}
    if feeds.keys() != names:
        raise UsageError(
            f"the model takes the inputs {_listed(names)}, not {_listed(feeds.keys()) or 'none'}"
        )
    symbols: Symbols = {}
    for spec in inputs:
        _check_one(spec, feeds[spec.name], symbols)
        if batch is not None:
            _check_batch(spec.name, feeds[spec.name].shape[0], batch)
    return symbols


def _check_one(spec: TensorSpec, array: Array, symbols: Symbols) -> None:
    if array.dtype != spec.dtype:
        raise UsageError(f"the input {spec.name} takes {spec.dtype}, not {array.dtype}")
    fits = len(array.shape) == len(spec.shape) and all(
        size == (symbols.setdefault(wanted, size) if isinstance(wanted, str) else wanted)
        for size, wanted in zip(array.shape, spec.shape, strict=True)
    )
    if not fits or 0 in array.shape:
        wanted_shape = " x ".join(str(size) for size in spec.shape)
        given_shape = " x ".join(str(size) for size in array.shape) or "a scalar"
        raise UsageError(f"the input {spec.name} takes {wanted_shape}, not {given_shape}")


def _check_batch(name: str, size: int, batch: Batch) -> None:
    if not batch.takes(size):
        raise UsageError(
            f"the engine was built for batches of {batch.span}, not {size} ({name})",
            hints=(f"build it again with --batch {min(batch.min, size)}:{batch.opt}:{size}",),
        )


def output_shape(spec: TensorSpec, symbols: Mapping[str, int]) -> tuple[int, ...] | None:
    """Return the shape of an output, or None when the inputs alone do not tell it."""
    sizes = [symbols.get(size) if isinstance(size, str) else size for size in spec.shape]
    known = tuple(size for size in sizes if size is not None)
    return known if len(known) == len(sizes) else None


def bound(held: Held | None) -> Held:
    """Return what a session holds between bind and close.

    Raises:
        RunError: it holds nothing: it is closed, or was never bound.
    """
    if held is None:
        raise RunError("the session is closed, or bind() was not called before")
    return held


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
