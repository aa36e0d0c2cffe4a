"""The blocks of a TResNet in its graph: which nodes they hold, and where the next one begins.

    images -> [stem] -> x -> [layer1.0] -> x -> [layer1.1] -> ... -> [head] -> logits

Nodes are named after their torch modules ("layer1.0.conv1.conv/Conv"), so a block of the graph is
called as the module is. Between two blocks just one tensor passes, whose name quantisation keeps:
the float and the INT8 form of a network can be cut at the same places, and joined again as one
likes. That only one tensor passes is told by how the graph is joined, never by names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from tresnet_deploy.errors import ArtifactError

_BLOCK: Final = re.compile(r"(layer\d+\.\d+|[^./]+)[./]")
_MOVES_INPUT: Final = "space_to_depth"  # a module without weights: it belongs to what follows


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of a graph between two tensors, through which all that enters or leaves it passes.

    ``blocks`` are the modules in it: one, where the network lets itself be cut there.
    """

    blocks: tuple[str, ...]
    source: str
    target: str


def module_of(node: ir.Node) -> str:
    """Return the torch module that ``node`` was made from: layer1.0.conv1.conv; empty for none."""
    return (node.name or "").rpartition("/")[0].partition("/")[0]


def block_of(node: ir.Node) -> str | None:
    """Return the block that ``node`` is named after: layer1.0, stem; None where it has no scope."""
    found = _BLOCK.match(node.name or "")
    return None if found is None or found[1] == _MOVES_INPUT else found[1]


def expression_of(block: str) -> str:
    """Return the regular expression that finds all nodes of ``block``, as ``--exclude`` takes."""
    return f"^{re.escape(block)}[./]"


def blocks_of(graph: ir.Graph) -> dict[ir.Node, str]:
    """Return the block of each node; a node without a scope belongs to the one before it.

    Raises:
        ArtifactError: no node is named after a module.
    """
    named = {node: block_of(node) for node in graph}
    first = next((block for block in named.values() if block), None)
    if first is None:
        raise ArtifactError(
            "the nodes of this graph are not named after the network's modules, so its blocks "
            "cannot be told apart",
            hints=("tresnet-deploy export, which names them",),
        )
    found: dict[ir.Node, str] = {}
    current = first
    for node, block in named.items():
        current = block or current
        found[node] = current
    return found


def segments(graph: ir.Graph) -> tuple[Segment, ...]:
    """Return the parts of ``graph``, in order: one a block, or several blocks that stick together.

    Raises:
        ArtifactError: no node is named after a module.
    """
    block = blocks_of(graph)
    names = list(dict.fromkeys(block.values()))
    place = {node: names.index(name) for node, name in block.items()}
    (start,), (end,) = graph.inputs, graph.outputs
    found: list[Segment] = []
    waiting: list[str] = []
    source = _name(start)
    computed = _computed(graph)
    for index, name in enumerate(names):
        waiting.append(name)
        last = index + 1 == len(names)
        target = end if last else _border(computed, place, index)
        if target is not None:
            found.append(Segment(blocks=tuple(waiting), source=source, target=_name(target)))
            source, waiting = _name(target), []
    return tuple(found)


def piece(model: ir.Model, segment: Segment, *, to: Segment | None = None) -> ir.Model:
    """Return what ``model`` computes from the source of ``segment`` to its target, as a model.

    ``to`` is the last segment where more than one is wanted. Weights are shared with ``model``.
    """
    graph = ir.convenience.extract(
        model.graph, inputs=[segment.source], outputs=[(to or segment).target]
    )
    return ir.Model(
        graph,
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        functions=[function.clone() for function in model.functions.values()],
    )


def _computed(graph: ir.Graph) -> set[ir.Value]:
    """Return the values that depend on the graph's input: the others can be made anywhere."""
    found: set[ir.Value] = set(graph.inputs)
    for node in graph:
        if any(value in found for value in node.inputs):
            found.update(node.outputs)
    return found


def _border(computed: set[ir.Value], place: Mapping[ir.Node, int], index: int) -> ir.Value | None:
    """Return the only value that passes from blocks up to ``index`` to later ones, if it is one."""
    crossing = {
        value
        for value in computed
        if _made_at(value, place) <= index and _read_after(value, place, index)
    }
    backwards = any(
        _made_at(value, place) > index
        and any(place[reader] <= index for reader in _known(value.consumers(), place))
        for value in computed
    )
    if backwards or len(crossing) != 1:
        return None
    (value,) = crossing
    return value if value.producer() is not None else None


def _made_at(value: ir.Value, place: Mapping[ir.Node, int]) -> int:
    producer = value.producer()
    return -1 if producer is None else place[producer]


def _read_after(value: ir.Value, place: Mapping[ir.Node, int], index: int) -> bool:
    readers = _known(value.consumers(), place)
    return value.is_graph_output() or any(place[reader] > index for reader in readers)


def _known(nodes: Iterable[ir.Node], place: Mapping[ir.Node, int]) -> list[ir.Node]:
    return [node for node in nodes if node in place]


def _name(value: ir.Value) -> str:
    assert value.name is not None
    return value.name
