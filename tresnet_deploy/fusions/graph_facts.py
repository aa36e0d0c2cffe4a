"""What of the ONNX graph is needed to judge the kernels: operators by name, and activations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

ACTIVATIONS: Final = ("LeakyRelu", "Relu", "PRelu", "Clip", "HardSwish", "Sigmoid")


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFacts:
    """Operators by the names that the parser gives nodes; each convolution's own activation.

    An activation is a convolution's own when nothing else reads the convolution.
    """

    operators: Mapping[str, str]
    activations: Mapping[str, str]


def facts_of(model: ir.Model) -> GraphFacts:
    """Return the facts of ``model``, of its functions' bodies too."""
    nodes = tuple(_named(model))
    return GraphFacts(
        operators={name: node.op_type for name, node in nodes},
        activations=dict(_activations(model.graph)),
    )


def _named(model: ir.Model) -> Iterator[tuple[str, ir.Node]]:
    """Give each node under the parser's name: INNER | CALL (FUNCTION) inside of a function."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        name = _name(node)
        yield name, node
        for inner in model.functions.get(node.op_identifier()) or ():
            yield f"{_name(inner)} | {name} ({node.op_type})", inner


def _name(node: ir.Node) -> str:
    """Return the name of ``node``, or the one that the parser makes for it."""
    return node.name or (f"node_of_{node.outputs[0].name}" if node.outputs else "")


def _activations(graph: ir.Graph) -> Iterator[tuple[str, str]]:
    for node in graph:
        if node.op_type != "Conv":
            continue
        users = node.outputs[0].consumers()
        if len(users) == 1 and users[0].op_type in ACTIVATIONS:
            yield _name(node), _name(users[0])
