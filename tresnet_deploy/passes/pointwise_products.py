"""Make 1x1 convolutions before an addition integer products with a float result.

before:  DQ(x) -> Conv 1x1 [-> Q -> DQ] -> Add
after:   x -> Transpose -> MatMulIntegerToFloat -> Transpose -> Add        (channels last)

ONNX Runtime's integer convolutions answer in integers, which a DequantizeLinear on one thread turns
into the floats that an addition wants; its integer product (``com.microsoft``) answers in float.
More exact: the result is not rounded any more. ONNX Runtime moves the transposes together, until
they vanish in its own layout of integer convolutions.
Left alone: strides, groups, paddings, and results that something else reads.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.contracts import Array, Outcome
from tresnet_deploy.passes import _graph, _pairs

DOMAIN: Final = "com.microsoft"
_CONV_BIAS: Final = 2  # indices among the inputs
_PRODUCT_BIAS: Final = 6
_CHANNELS_LAST: Final = (0, 2, 3, 1)
_CHANNELS_FIRST: Final = (0, 3, 1, 2)


def apply(model: ir.Model) -> Outcome:
    """Rewrite every quantised 1x1 convolution that only an addition reads, in place."""
    changed = 0
    for conv in [node for node in model.graph if _pairs.is_quantized(node) and _is_plain(node)]:
        output = _before_addition(conv)
        source = _pairs.dequantized(conv.inputs[0])
        weight = _weight(conv)
        if output is not None and source is not None and weight is not None:
            _replace(conv, output, source, weight)
            changed += 1
    if changed:
        model.opset_imports[DOMAIN] = 1
    _graph.drop_unused(model)
    return Outcome(changed=changed)


def _is_plain(conv: ir.Node) -> bool:
    shape = conv.inputs[1].shape if conv.inputs[1] is not None else None
    return (
        shape is not None
        and tuple(shape)[2:] == (1, 1)
        and _graph.integer(conv, "group", 1) == 1
        and all(stride == 1 for stride in _graph.ints(conv, "strides", ()))
        and not any(_graph.ints(conv, "pads", ()))
    )


def _before_addition(conv: ir.Node) -> ir.Value | None:
    """Return what the addition reads: the result of ``conv``, or its rounded copy."""
    value = conv.outputs[0]
    reader = _graph.sole_user(value)
    if reader is not None and reader.op_type == "QuantizeLinear":
        dequantize = _graph.sole_user(reader.outputs[0])
        if dequantize is None:
            return None
        value = dequantize.outputs[0]
        reader = _graph.sole_user(value)
    return value if reader is not None and reader.op_type == "Add" else None


def _replace(
    conv: ir.Node, output: ir.Value, source: _pairs.Dequantized, weight: tuple[Array, Array]
) -> None:
    name = _graph.name_of(conv)
    last = _transpose(source.integers, _CHANNELS_LAST, f"{name}/channels_last")
    product = ir.node(
        "MatMulIntegerToFloat",
        [last.outputs[0]],
        domain=DOMAIN,
        name=f"{name}/MatMulIntegerToFloat",
    )
    product.outputs[0].name, product.outputs[0].type = f"{name}/product", output.type
    first = _transpose(product.outputs[0], _CHANNELS_FIRST, f"{name}/channels_first")
    first.outputs[0].type, first.outputs[0].shape = output.type, output.shape
    graph = conv.graph
    assert graph is not None
    graph.insert_after(conv, (last, product, first))
    integers, scales = weight
    constants = {
        "weight": integers[:, :, 0, 0].T,
        "input_scale": np.float32(source.scale),
        "weight_scale": scales,
        "input_zero_point": np.uint8(source.zero_point),
    }
    for index, (suffix, array) in enumerate(constants.items(), start=1):
        _graph.set_constant(product, index, np.asarray(array), name=f"{name}/{suffix}")
    bias = conv.inputs[_CONV_BIAS] if len(conv.inputs) > _CONV_BIAS else None
    if bias is not None:
        product.resize_inputs(_PRODUCT_BIAS + 1)  # the zero point of the weights is left out
        product.replace_input_with(_PRODUCT_BIAS, bias)
    _graph.replace_value(output, first.outputs[0])


def _weight(conv: ir.Node) -> tuple[Array, Array] | None:
    """Return symmetric int8 weights and their scales, one or one for each output channel."""
    node = _graph.producer(conv.inputs[1], "DequantizeLinear")
    if node is None or _graph.integer(node, "axis", 1) != 0:
        return None
    integers, scales, *zero = (_graph.constant(value) for value in node.inputs)
    if integers is None or scales is None or integers.dtype != np.int8:
        return None
    if any(array is None or array.any() for array in zero):
        return None
    return integers, scales.reshape(()) if scales.size == 1 else scales


def _transpose(value: ir.Value, order: tuple[int, ...], name: str) -> ir.Node:
    node = ir.node("Transpose", [value], attributes={"perm": order}, name=name)
    node.outputs[0].name, node.outputs[0].type = f"{name}/output", value.type
    return node
