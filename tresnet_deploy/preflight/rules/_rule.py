"""What a rule is, and what it may look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import onnx_ir as ir

from tresnet_deploy.preflight.reports import Severity
from tresnet_deploy.preflight.targets import Capability

STANDARD: Final = ("", "ai.onnx")
FLOATS: Final = (
    ir.DataType.FLOAT,
    ir.DataType.FLOAT16,
    ir.DataType.BFLOAT16,
    ir.DataType.DOUBLE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A graph under examination: functions expanded, types and shapes inferred as far as they go.

    ``unreadable`` says what is wrong with weights that lie in other files; these are not in
    ``model``'s memory. ``plugins`` are the nodes that ask for a TensorRT plugin.
    """

    path: Path
    model: ir.Model
    targets: tuple[Capability, ...]
    unreadable: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    nodes: tuple[ir.Node, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Collect all nodes, those of subgraphs included."""
        nodes = tuple(ir.traversal.RecursiveGraphIterator(self.model.graph))
        object.__setattr__(self, "nodes", nodes)

    def of(self, *op_types: str) -> Iterator[ir.Node]:
        """Give the nodes of these standard operators."""
        return (n for n in self.nodes if n.op_type in op_types and n.domain in STANDARD)

    def below(self, least: Capability) -> tuple[Capability, ...]:
        """Return the targets older than ``least``."""
        return tuple(target for target in self.targets if target < least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """One fault with all who show it."""

    message: str
    nodes: tuple[str, ...] = ()


Find = Callable[[Subject], Iterable[Match]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A rule with its id, which never changes its meaning, and the way out."""

    id: str
    severity: Severity
    title: str
    remedy: str
    find: Find


def one(message: str, nodes: Iterable[ir.Node]) -> Iterator[Match]:
    """Give one match for all of ``nodes``, none when there are none."""
    names = tuple(dict.fromkeys(name_of(node) for node in nodes))
    if names:
        yield Match(message=message, nodes=names)


def name_of(node: ir.Node) -> str:
    """Return the name of ``node``, or what it makes where it has none."""
    made = node.outputs[0].name if node.outputs else "nothing"
    return node.name or f"{node.op_type} of {made}"


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """Return an input of ``node``, None where it is left out."""
    return node.inputs[index] if index < len(node.inputs) else None


def dtype_of(value: ir.Value | None) -> ir.DataType | None:
    """Return the type of ``value``, None where nobody knows it."""
    if value is None:
        return None
    return value.dtype or (value.const_value.dtype if value.const_value else None)


def produced_by(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """Return the node that computes ``value`` if it is one of ``op_types``."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type in op_types else None
