"""TRT030 and TRT031: batches that are baked into a graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from tresnet_deploy.preflight.rules._constants import array_of
from tresnet_deploy.preflight.rules._rule import Match, Rule, Subject, input_of, name_of

_RESHAPES: Final = ("Reshape", "Expand")


def _fixed_input(subject: Subject) -> Iterator[Match]:
    for value in _inputs(subject.model):
        first = _first_dimension(value)
        if isinstance(first, int) and len(value.shape or ()) > 1:
            yield Match(
                message=f"the graph takes batches of {first} only", nodes=(value.name or "input",)
            )


def _baked_reshape(subject: Subject) -> Iterator[Match]:
    """A reshape of a tensor whose first dimension is an input's symbolic one, to a number."""
    batches = {_symbol(value) for value in _inputs(subject.model)} - {None}
    for node in subject.of(*_RESHAPES):
        data, shape = input_of(node, 0), array_of(input_of(node, 1))
        if data is None or shape is None or shape.ndim != 1 or not shape.size:
            continue
        first = int(shape[0])
        grows = node.op_type == "Expand" and first == 1  # 1 keeps a dimension as it is
        if _symbol(data) in batches and first > 0 and not grows:
            yield Match(
                message=f"the batch becomes {first}, whatever it was", nodes=(name_of(node),)
            )


def _inputs(model: ir.Model) -> Iterator[ir.Value]:
    return (value for value in model.graph.inputs if not value.is_initializer())


def _first_dimension(value: ir.Value) -> int | ir.SymbolicDim | None:
    return value.shape[0] if value.shape is not None and len(value.shape) else None


def _symbol(value: ir.Value) -> str | None:
    first = _first_dimension(value)
    return first.value if isinstance(first, ir.SymbolicDim) else None


RULES: Final = (
    Rule(
        id="TRT030",
        severity="warning",
        title="fixed batch",
        remedy="export without --batch for a dynamic batch, unless one size is all you serve",
        find=_fixed_input,
    ),
    Rule(
        id="TRT031",
        severity="error",
        title="batch baked into a reshape",
        remedy="write the batch as 0 or -1 in the target shape; in PyTorch use x.flatten(1) or "
        "x.reshape(x.shape[0], ...)",
        find=_baked_reshape,
    ),
)
