"""Reading and replacing constants in a graph: what the passes share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import onnx_ir.passes.common as common_passes

from tresnet_deploy.contracts import Array, Outcome, Refusal


def name_of(node: ir.Node) -> str:
    """Return how a refusal calls ``node``."""
    return node.name or node.op_type


def constant(value: ir.Value | None) -> Array | None:
    """Return the array of an initializer or Constant node, None for what is computed or absent."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else np.asarray(tensor.numpy())


def ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """Return a list-of-integers attribute, or ``default`` where it is left out."""
    attribute = node.attributes.get(name)
    return default if attribute is None else tuple(attribute.as_ints())


def integer(node: ir.Node, name: str, default: int) -> int:
    """Return an integer attribute, or ``default`` where it is left out."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def number(node: ir.Node, name: str, default: float) -> float:
    """Return a float attribute, or ``default`` where it is left out."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def repeats_values(pad: ir.Node) -> bool:
    """Whether what ``pad`` adds are values that are there."""
    mode = pad.attributes.get("mode")
    return mode is not None and mode.as_string() in ("edge", "reflect")


def sole_user(value: ir.Value) -> ir.Node | None:
    """Return the only node that reads ``value``, None for several or when it is an output."""
    users = value.consumers()
    return users[0] if len(users) == 1 and not value.is_graph_output() else None


def producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the node that computes ``value`` if it is an ``op_type``."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type else None


def set_constant(node: ir.Node, index: int, array: Array, *, name: str) -> None:
    """Make ``array`` the constant input ``index`` of ``node``, leaving other readers as they are.

    An initializer that only this node reads is replaced under its name; else a new one is made,
    called ``name``.
    """
    while len(node.inputs) <= index:
        node.resize_inputs(len(node.inputs) + 1)
    value = node.inputs[index]
    if value is None or not value.is_initializer() or len(value.uses()) > 1:
        value = _new_initializer(node, name)
        node.replace_input_with(index, value)
    tensor = ir.tensor(np.asarray(array, order="C"), name=value.name)  # keeps a scalar a scalar
    value.const_value = tensor
    value.shape = ir.Shape(array.shape)
    value.type = ir.TensorType(tensor.dtype)
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    if value.name not in graph.initializers:
        graph.register_initializer(value)


def _new_initializer(node: ir.Node, name: str) -> ir.Value:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    free, count = name, 1
    while free in graph.initializers:
        count += 1
        free = f"{name}_{count}"
    return ir.Value(name=free)


def remove(node: ir.Node) -> None:
    """Take a node without readers out of its graph."""
    graph = node.graph
    assert graph is not None
    graph.remove(node, safe=True)


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Let all readers of ``old`` read ``new``; a graph output keeps its name."""
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def attempted(nodes: Sequence[ir.Node], rewrite: Callable[[ir.Node], str | None]) -> Outcome:
    """Let ``rewrite`` try each of ``nodes``: it returns why it left one, None where it did not."""
    reasons = [(name_of(node), rewrite(node)) for node in nodes]
    left = tuple(
        Refusal(match=name, reason=reason) for name, reason in reasons if reason is not None
    )
    return Outcome(changed=len(reasons) - len(left), left=left)


def drop_unused(model: ir.Model) -> None:
    """Remove nodes and initializers that nothing reads."""
    common_passes.RemoveUnusedNodesPass()(model)
