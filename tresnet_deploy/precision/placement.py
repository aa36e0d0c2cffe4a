"""Where Q/DQ pairs belong: TensorRT's rules, and what was measured on TResNet.

    x -> Q -> DQ -> Conv(DQ(int8 weights), float bias) -> LeakyRelu -> Q -> DQ -> Conv ...
              DQ -> Add: the skip connection of an identity block reads the same pair

1. A pair stands before each quantised layer, so after the activation before it: never between a
   convolution and its LeakyRelu, where it would break their fusion (TensorRT#2134).
2. An activation is quantised once; all its readers share the pair, the average pool of a shortcut
   included, so that no engine has to keep a float copy.
3. An addition takes its skip connection quantised and its main branch as it is: the convolution
   that ends the branch then fuses with the addition. In blocks that change shape this puts a pair
   after the shortcut's convolution.

What is INT8 by default was decided by measurement: SNR of the logits against the float graph, for
the trained network in the box and seeded TResNet-M; OpenVINO's throughput for M at 224 px.

    stem     INT8: costs 0 dB trained and 2 dB seeded; float it costs 1 to 2 % of the throughput
    head     float: INT8 costs 0.2 dB trained and up to 3 dB seeded, and gains nothing measurable
    squeeze  float: its convolutions compute on one pixel, and INT8 gains nothing measurable
    blur     float: INT8 costs nothing, its filter being exact, and gains nothing measurable
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import onnx_ir as ir

from tresnet_deploy.errors import UsageError
from tresnet_deploy.precision.layers import (
    BLUR_POOL,
    Role,
    data_input,
    depths,
    residual,
    roles,
    same_range,
)

DEFAULT_ROLES: Final[tuple[Role, ...]] = ("stem", "body")
ALL_ROLES: Final[tuple[Role, ...]] = ("stem", "body", "squeeze", "blur", "head")

_ACTIVATIONS: Final = ("LeakyRelu", "Relu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which layers compute in INT8, and which activations get a pair that all readers share.

    ``excluded`` are the nodes that keep reading the float value.
    """

    layers: tuple[ir.Node, ...]
    activations: tuple[ir.Value, ...]
    excluded: frozenset[ir.Node]


def observed(graph: ir.Graph) -> tuple[str, ...]:
    """Return the tensors whose ranges any placement may ask for, in the order of the graph.

    The set depends on nothing but the graph, so that a calibration table serves every choice of
    layers. It also holds the results of convolutions after which no pair belongs: ONNX Runtime's
    build step needs their ranges.
    """
    depth = depths(graph)
    wanted = [data_input(node) for node in roles(graph)]
    wanted += [value for node in graph if (value := residual(node, depth)) is not None]
    wanted += [value for _, value in results(graph)]
    return tuple(dict.fromkeys(_name(same_range(value)) for value in wanted))


def results(graph: ir.Graph) -> list[tuple[ir.Node, ir.Value]]:
    """Return each convolution with what it gives: its output, or that of its own activation."""
    return [
        (node, _activated(node.outputs[0])) for node in graph if node.op_type in ("Conv", BLUR_POOL)
    ]


def _activated(value: ir.Value) -> ir.Value:
    users = value.consumers()
    own = len(users) == 1 and users[0].op_type in _ACTIVATIONS
    return users[0].outputs[0] if own else value


def place(
    graph: ir.Graph,
    *,
    which: Sequence[Role] = DEFAULT_ROLES,
    exclude: Sequence[str] = (),
    dead: frozenset[str] = frozenset(),
) -> Placement:
    """Return the placement that quantises the layers of the roles ``which``.

    ``exclude`` are regular expressions, searched for in the names of nodes: these stay float.
    ``dead`` are tensors without a range: who reads them stays float.

    Raises:
        UsageError: an expression is malformed, or matches no layer and no addition.
    """
    depth = depths(graph)
    all_roles = roles(graph)
    skips = {node: value for node in graph if (value := residual(node, depth)) is not None}
    excluded = _matching(exclude, (*all_roles, *skips))
    layers = tuple(
        node
        for node, role in all_roles.items()
        if role in which
        and node not in excluded
        and _name(same_range(data_input(node))) not in dead
    )
    wanted = [data_input(node) for node in layers]
    computed = {node.outputs[0] for node in layers}
    wanted += [
        value
        for node, value in skips.items()
        if node not in excluded and (value in wanted or value in computed)
    ]
    return Placement(
        layers=layers,
        activations=tuple(v for v in dict.fromkeys(wanted) if _name(same_range(v)) not in dead),
        excluded=frozenset(excluded),
    )


def _matching(expressions: Sequence[str], nodes: Sequence[ir.Node]) -> set[ir.Node]:
    found: set[ir.Node] = set()
    for expression in expressions:
        try:
            pattern = re.compile(expression)
        except re.error as error:
            raise UsageError(
                f"--exclude {expression!r} is no regular expression: {error}"
            ) from error
        matched = [node for node in nodes if pattern.search(node.name or "")]
        if not matched:
            raise UsageError(
                f"--exclude {expression!r} matches none of the {len(nodes)} layers and additions; "
                f"their names are like {nodes[len(nodes) // 2].name}"
            )
        found.update(matched)
    return found


def _name(value: ir.Value) -> str:
    assert value.name is not None
    return value.name
