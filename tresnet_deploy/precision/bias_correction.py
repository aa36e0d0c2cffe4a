"""Taking the mean error of each INT8 layer out of its float bias, measured on images.

before:  x -> Q -> DQ -> Conv(DQ(Wq), b) -> y
after:   x -> Q -> DQ -> Conv(DQ(Wq), b + d) -> y         d = mean over images and pixels of y* - y

where y* is the output of the float layer for the same float x (Nagel et al. 2019, arXiv 1906.04721,
appendix D, with images instead of the norms' statistics). One graph computes y* and y of every
layer side by side, so one pass over the images serves all, and no correction depends on another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.calibration import Data, filled
from tresnet_deploy.contracts import Array, Batch, Progress, Session, no_progress, run
from tresnet_deploy.errors import QuantizeError

_AT_ONCE: Final = 4  # images; two copies of each layer's output are held
_BIAS: Final = 2  # index among the inputs of Conv and Gemm
_QUANTIZED_INPUTS: Final = 2

OpenSession = Callable[[ir.Model, Sequence[str]], Session]


def correct(
    reference: ir.Model,
    quantized: ir.Model,
    open_session: OpenSession,
    data: Data,
    *,
    batch: Batch | None = None,
    progress: Progress = no_progress,
) -> int:
    """Correct the biases of ``quantized`` in place; return how many layers were.

    ``reference`` is the float graph that the pairs were inserted into.

    Raises:
        QuantizeError: an output is not finite.
        ImageError: no image is readable, or one is not and the data is strict.
    """
    layers = {_result(node): node for node in quantized.graph if _is_quantized(node)}
    paired = reference.clone()
    means = dict(_paired(paired.graph, layers))
    if not means:
        return 0
    shifts = _shifts(open_session, paired, means, data, batch=batch, progress=progress)
    for name, shift in shifts.items():
        _add(quantized.graph, layers[name], shift)
    return len(shifts)


def _is_quantized(node: ir.Node) -> bool:
    if node.op_type not in ("Conv", "Gemm"):
        return False
    makers = [v.producer() if v is not None else None for v in node.inputs[:_QUANTIZED_INPUTS]]
    return all(maker is not None and maker.op_type == "DequantizeLinear" for maker in makers)


def _result(node: ir.Node) -> str:
    """Return the name that both graphs have for what ``node`` makes."""
    name = node.outputs[0].name
    assert name is not None
    return name


def _paired(
    graph: ir.Graph, layers: Mapping[str, ir.Node]
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Put the INT8 form of each layer beside it; give its result and the names of both means."""
    for node in [node for node in graph if _result(node) in layers]:
        name = _result(node)
        twin = _twin(graph, node, layers[name])
        yield name, (_mean(graph, node.outputs[0]), _mean(graph, twin.outputs[0]))


def _twin(graph: ir.Graph, node: ir.Node, layer: ir.Node) -> ir.Node:
    """Insert ``layer`` of the quantised graph after ``node``, fed by the float activation."""
    source, weight = (_required(value).producer() for value in layer.inputs[:_QUANTIZED_INPUTS])
    assert source is not None
    assert weight is not None
    quantize = _required(source.inputs[0]).producer()
    assert quantize is not None
    names = (
        f"{_result(node)}/twin/{part}" for part in ("quantized", "restored", "weight", "output")
    )
    steps = [_copied(graph, value, f"{_result(node)}/twin") for value in quantize.inputs[1:]]
    made = [ir.node("QuantizeLinear", [node.inputs[0], *steps])]
    made.append(ir.node("DequantizeLinear", [made[0].outputs[0], *steps]))
    constants = [_copied(graph, value, f"{_result(node)}/twin") for value in weight.inputs]
    made.append(ir.node("DequantizeLinear", constants, attributes=dict(weight.attributes)))
    inputs = [made[1].outputs[0], made[2].outputs[0], *node.inputs[_BIAS:]]
    made.append(ir.node(node.op_type, inputs, attributes=dict(node.attributes)))
    for each, name in zip(made, names, strict=True):
        each.name = each.outputs[0].name = name
    made[-1].outputs[0].shape, made[-1].outputs[0].type = (
        node.outputs[0].shape,
        node.outputs[0].type,
    )
    graph.insert_after(node, made)
    return made[-1]


def _copied(graph: ir.Graph, value: ir.Value | None, prefix: str) -> ir.Value:
    given = _required(value)
    assert given.const_value is not None
    name = f"{prefix}/{given.name}"
    if name in graph.initializers:
        return graph.initializers[name]
    copy = ir.Value(name=name, shape=given.shape, type=given.type, const_value=given.const_value)
    graph.register_initializer(copy)
    return copy


def _mean(graph: ir.Graph, value: ir.Value) -> str:
    """Return the name of a new tensor, the mean of ``value`` over its pixels; itself if flat."""
    assert value.name is not None
    if value.shape is not None and len(value.shape) <= 2:  # noqa: PLR2004  (images, features)
        return value.name
    node = ir.node("GlobalAveragePool", [value], name=f"{value.name}/mean")
    node.outputs[0].name, node.outputs[0].type = f"{value.name}/mean", value.type
    graph.insert_after(_required_node(value), node)
    return f"{value.name}/mean"


def _shifts(
    open_session: OpenSession,
    paired: ir.Model,
    means: Mapping[str, tuple[str, str]],
    data: Data,
    *,
    batch: Batch | None,
    progress: Progress,
) -> dict[str, Array]:
    """Return the mean over images of what each float layer gives more than its INT8 form."""
    wanted = [name for pair in means.values() for name in pair]
    sums: dict[str, Array] = {}
    images = 0
    size = max(batch.min, min(batch.max, _AT_ONCE)) if batch else _AT_ONCE
    with closing(open_session(paired, wanted)) as session:
        (spec,) = session.inputs
        for portion in data.portions(size, progress=progress):
            array = filled(portion.array, size if batch and batch.fixed else 0)
            found = run(session, {spec.name: array})
            real = len(portion.array)
            images += real
            for name, (wide, narrow) in means.items():
                difference = found[wide][:real].astype(np.float64) - found[narrow][:real]
                sums[name] = sums.get(name, 0.0) + difference.reshape(real, -1).sum(axis=0)
    broken = [name for name, total in sums.items() if not np.isfinite(total).all()]
    if broken:
        raise QuantizeError(f"the output of {broken[0]} is NaN or infinite on calibration images")
    return {name: total / images for name, total in sums.items()}


def _add(graph: ir.Graph, layer: ir.Node, shift: Array) -> None:
    before = layer.inputs[_BIAS] if len(layer.inputs) > _BIAS else None
    name = before.name if before is not None else f"{_result(layer)}/bias"
    held = np.zeros(1) if before is None else _required_constant(before)
    array = np.asarray(held.reshape(-1) + shift, np.float32)
    assert name is not None
    corrected = f"{name}/corrected"
    tensor = ir.tensor(array, name=corrected)
    value = ir.Value(
        name=corrected,
        shape=ir.Shape(array.shape),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    if len(layer.inputs) <= _BIAS:
        layer.resize_inputs(_BIAS + 1)
    layer.replace_input_with(_BIAS, value)
    if before is not None and not before.uses() and name in graph.initializers:
        del graph.initializers[name]


def _required(value: ir.Value | None) -> ir.Value:
    assert value is not None
    return value


def _required_node(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node


def _required_constant(value: ir.Value) -> Array:
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy())
