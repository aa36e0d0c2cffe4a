"""Running a network piece by piece: this file is about what is computed once and kept.

    images -> [stem] -> x1 -> [layer1.0] -> x2 -> ... -> [head] -> scores        float, once
    images -> [stem] -> x1 -> [layer1.0] -> x2 -> ... -> [head] -> scores        INT8, once
                         x1 -> [layer1.0 in the other form] -> x -> the rest     for each unit

Only the part behind a unit is run for it, from the tensor that was kept before it; on average that
is half of the network. What is kept belongs to one portion of images, so memory does not grow.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from tresnet_deploy.blocks import Segment, piece
from tresnet_deploy.contracts import Array, Session, run
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.sensitivity.forms import Forms, Unit, exactly

_RUNTIME: Final = "onnxruntime"  # computes Q/DQ pairs as they are written


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """The segment of a unit in two mixed forms: that unit alone in INT8, and all but it."""

    unit: Unit
    only: Session
    without: Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Chains:
    """All pieces of a network, opened: the float ones, the INT8 ones, and the variants."""

    plain: tuple[Session, ...]
    int8: tuple[Session, ...]
    variants: tuple[Variant, ...]


@contextmanager
def opened(forms: Forms, units: Sequence[Unit]) -> Iterator[Chains]:
    """Open all pieces of ``forms`` that measuring ``units`` takes, and close them afterwards.

    Each is a graph of its own in ONNX Runtime.

    Raises:
        UnavailableError: ONNX Runtime is not installed.
        RunError: it refuses a piece.
    """
    with ExitStack() as held:

        def session(model: ir.Model, segment: Segment) -> Session:
            part = piece(model, segment)
            opened: Session = BACKENDS.load(_RUNTIME).session_of(part, alone=False)
            return held.enter_context(closing(opened))

        full = forms.quantized()
        plain = tuple(session(forms.model, segment) for segment in forms.segments)
        int8 = tuple(session(full, segment) for segment in forms.segments)

        def variant(unit: Unit) -> Variant:
            segment = forms.segments[unit.segment]
            if segment.blocks == (unit.name,):  # a whole segment: both forms are there already
                return Variant(unit=unit, only=int8[unit.segment], without=plain[unit.segment])
            only, without = _mixed(forms, unit, segment)
            return Variant(
                unit=unit, only=session(only, segment), without=session(without, segment)
            )

        yield Chains(plain=plain, int8=int8, variants=tuple(variant(unit) for unit in units))


def through(sessions: Sequence[Session], value: Array) -> list[Array]:
    """Return what comes out of each of ``sessions``, each fed with the output of the one before."""
    found: list[Array] = []
    for session in sessions:
        (spec,) = session.inputs
        (value,) = run(session, {spec.name: value}).values()
        found.append(value)
    return found


def _mixed(forms: Forms, unit: Unit, segment: Segment) -> tuple[ir.Model, ir.Model]:
    """Return graphs whose ``segment`` has ``unit`` alone in INT8, and all but ``unit``."""
    inside = [name for block in segment.blocks for name in forms.node_names(block)]
    everything = [str(node.name) for node in forms.model.graph]
    mine = set(forms.node_names(unit.block)) if unit.name == unit.block else set(unit.nodes)
    # Weights of other segments need not be rounded for a graph that only gives this one.
    outside = set(everything) - set(inside)
    only = forms.quantized(exactly(name for name in everything if name not in mine))
    without = forms.quantized(exactly(sorted(outside | mine)))
    return only, without
