"""Turn bytes into floats before they are moved.

before:  x (uint8) -> Transpose -> Cast {to float} -> y
after:   x (uint8) -> Cast {to float} -> Transpose -> y

The same numbers, exactly. TensorRT takes bytes as an input, and the only thing that it does to them
is a cast. Left alone: bytes that several nodes read, or that are an output.
"""

from __future__ import annotations

import onnx_ir as ir

from tresnet_deploy.contracts import Outcome
from tresnet_deploy.passes import _graph

_MOVES = ("Flatten", "Identity", "Reshape", "SpaceToDepth", "Squeeze", "Transpose")


def apply(model: ir.Model) -> Outcome:
    """Swap each Cast of bytes with the moves before it, in place."""
    moves = [node for node in model.graph if _moves_bytes(node)]
    # Backwards: a move that was passed comes again, as what the Cast reads next.
    return _graph.attempted(moves[::-1], _swap)


def _moves_bytes(node: ir.Node) -> bool:
    return node.op_type in _MOVES and node.outputs[0].dtype == ir.DataType.UINT8


def _swap(move: ir.Node) -> str | None:
    """Let the Cast after ``move`` come before it, or return why not."""
    (moved,) = move.outputs
    cast = _graph.sole_user(moved)
    if cast is None:
        return "several nodes read the moved bytes, or they are an output"
    if cast.op_type != "Cast":
        return f"{_graph.name_of(cast)} reads the moved bytes, which is no Cast"
    source, graph = move.inputs[0], move.graph
    (y,) = cast.outputs
    assert source is not None
    assert graph is not None
    early = ir.node("Cast", [source], attributes={"to": cast.attributes.get_int("to", 0)})
    early.name = cast.name
    early.outputs[0].name = f"{moved.name}/cast"
    early.outputs[0].shape, early.outputs[0].type = source.shape, y.type
    graph.insert_before(move, early)
    move.replace_input_with(0, early.outputs[0])
    moved.type = y.type
    _graph.replace_value(y, moved)
    _graph.remove(cast)
    return None
