"""Compute the queries of an ML-Decoder head once, instead of with each image.

before:  Q -> Add(Q) -> LayerNormalization -> MatMul -> Reshape -> Expand to the batch -> Mul -> A
after:   A' (a constant)                                               A' has a batch of 1

The group queries depend on no image (arXiv 2111.12933), and the products that read them broadcast,
so the batch need not be written out. Left alone: an Expand whose reader does not broadcast, or
whose other operand does not bring the batch itself.
"""

from __future__ import annotations

import numpy as np
import onnx.reference
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome, Refusal
from tresnet_deploy.passes import _graph

_FOLDABLE = frozenset(
    ("Add", "Gemm", "LayerNormalization", "MatMul", "Mul", "Reshape", "Transpose", "Unsqueeze")
)
_BROADCASTING = frozenset(("Add", "MatMul", "Mul"))


def apply(model: ir.Model) -> Outcome:
    """Replace nodes that compute constants by their results, and drop needless Expands."""
    changed, left = 0, []
    for node in list(model.graph):
        if node.op_type == "Expand" and _graph.constant(node.inputs[0]) is not None:
            reason = _drop_expand(node)
            if reason is not None:
                left.append(Refusal(match=_graph.name_of(node), reason=reason))
                continue
        elif not _fold(node, model):
            continue
        changed += 1
    _graph.drop_unused(model)
    return Outcome(changed=changed, left=tuple(left))


def _fold(node: ir.Node, model: ir.Model) -> bool:
    """Replace ``node`` by its result where all of its inputs are constant."""
    if node.domain or node.op_type not in _FOLDABLE or len(node.outputs) != 1:
        return False
    arrays = [_graph.constant(value) for value in node.inputs if value is not None]
    if any(array is None for array in arrays):
        return False
    (old,) = node.outputs
    result = _evaluate(node, [array for array in arrays if array is not None], model)
    tensor = ir.tensor(np.ascontiguousarray(result), name=old.name)
    new = ir.Value(
        name=old.name,
        shape=ir.Shape(result.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    old.name = f"{old.name}:folded"
    _graph.replace_value(old, new)
    _graph.remove(node)
    model.graph.register_initializer(new)
    return True


def _evaluate(node: ir.Node, arrays: list[Array], model: ir.Model) -> Array:
    present = [value for value in node.inputs if value is not None]
    names = {value: f"in{index}" for index, value in enumerate(present)}
    inputs = {
        value: ir.Value(name=name, shape=value.shape, type=value.type)
        for value, name in names.items()
    }
    twin = ir.node(
        node.op_type,
        [None if value is None else inputs[value] for value in node.inputs],
        attributes=dict(node.attributes),
    )
    twin.outputs[0].name = "out"
    twin.outputs[0].type = node.outputs[0].type
    graph = ir.Graph(
        list(inputs.values()),
        twin.outputs,
        nodes=[twin],
        opset_imports={"": model.opset_imports[""]},
        name="folding",
    )
    single = ir.to_proto(ir.Model(graph, ir_version=model.ir_version))
    feeds = {names[value]: array for value, array in zip(present, arrays, strict=True)}
    (result,) = onnx.reference.ReferenceEvaluator(single).run(None, feeds)
    return np.asarray(result)


def _drop_expand(node: ir.Node) -> str | None:
    """Let the readers of ``node`` broadcast, or return why they cannot."""
    source, (expanded,) = node.inputs[0], node.outputs
    assert source is not None
    if expanded.is_graph_output():
        return "it is an output of the graph"
    for reader in _through_scaling(expanded):
        if reader.op_type not in _BROADCASTING:
            return f"{_graph.name_of(reader)} does not broadcast"
        if not any(_brings_batch(value, expanded) for value in reader.inputs):
            return f"the other operand of {_graph.name_of(reader)} does not bring the batch"
    _graph.replace_value(expanded, source)
    _graph.remove(node)
    return None


def _through_scaling(value: ir.Value) -> list[ir.Node]:
    """Return the readers of ``value``, looking through multiplications by a number."""
    readers: list[ir.Node] = []
    for node in value.consumers():
        others = [_graph.constant(other) for other in node.inputs if other is not value]
        if node.op_type == "Mul" and all(array is not None and array.size == 1 for array in others):
            readers.extend(_through_scaling(node.outputs[0]))
        else:
            readers.append(node)
    return readers


def _brings_batch(operand: ir.Value | None, expanded: ir.Value) -> bool:
    """Whether another operand has the first dimension that ``expanded`` was given."""
    if operand is None or operand.shape is None or expanded.shape is None:
        return False
    is_other = _graph.constant(operand) is None and not _descends(operand, expanded)
    return is_other and len(operand.shape) > 0 and operand.shape[0] == expanded.shape[0]


def _descends(value: ir.Value, ancestor: ir.Value) -> bool:
    node = value.producer()
    return value is ancestor or (
        node is not None and node.op_type == "Mul" and ancestor in node.inputs
    )
