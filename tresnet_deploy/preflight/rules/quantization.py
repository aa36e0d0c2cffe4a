"""TRT040 to TRT047: QuantizeLinear and DequantizeLinear, by TensorRT's rules."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.preflight.rules._constants import array_of
from tresnet_deploy.preflight.rules._rule import (
    Match,
    Rule,
    Subject,
    dtype_of,
    input_of,
    one,
    produced_by,
)

_ACTIVATIONS: Final = ("Clip", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid")
_UNSIGNED: Final = (ir.DataType.UINT8, ir.DataType.UINT16, ir.DataType.UINT4)
_WIDE: Final = (ir.DataType.INT16, ir.DataType.UINT16)
_ZERO_POINT: Final = 2  # the index of that input, after data and scale
_KERNEL_RANK: Final = 4
_ONE_PIXEL: Final = (1, 1)


def _asymmetric(subject: Subject) -> Iterator[Match]:
    shifted, unsigned = [], []
    for node in subject.of("QuantizeLinear", "DequantizeLinear"):
        zero = array_of(input_of(node, _ZERO_POINT))
        if zero is not None and np.any(zero.astype(np.float32) != 0):
            shifted.append(node)
        elif _integer_type(node) in _UNSIGNED:
            unsigned.append(node)
    yield from one("their zero points are not 0", shifted)
    yield from one(
        "they are unsigned; as int8, which the builder makes of them, they end at 127", unsigned
    )


def _quantized_bias(subject: Subject) -> Iterator[Match]:
    nodes = (
        node
        for node in subject.of("DequantizeLinear")
        if dtype_of(input_of(node, 0)) == ir.DataType.INT32
    )
    yield from one("these dequantise int32, as a quantised bias is", nodes)


def _sixteen_bits(subject: Subject) -> Iterator[Match]:
    pairs = subject.of("QuantizeLinear", "DequantizeLinear")
    yield from one(
        "they have 16 bits; TensorRT has 8, and 4 for weights",
        (node for node in pairs if _integer_type(node) in _WIDE),
    )


def _bad_scale(subject: Subject) -> Iterator[Match]:
    nodes = []
    for node in subject.of("QuantizeLinear", "DequantizeLinear"):
        scale = array_of(input_of(node, 1))
        if scale is not None:
            numbers = scale.astype(np.float64)
            if not np.all(np.isfinite(numbers) & (numbers > 0)):
                nodes.append(node)
    yield from one("their scales are not all positive numbers", nodes)


def _activation_by_channel(subject: Subject) -> Iterator[Match]:
    nodes = []
    for node in subject.of("QuantizeLinear"):
        data, scale = input_of(node, 0), array_of(input_of(node, 1))
        computed = data is not None and array_of(data) is None
        if computed and scale is not None and scale.size > 1:
            nodes.append(node)
    yield from one("these activations have a scale for each channel", nodes)


def _before_activation(subject: Subject) -> Iterator[Match]:
    """Conv -> Q -> DQ -> LeakyRelu."""
    nodes = []
    for node in subject.of(*_ACTIVATIONS):
        dequantize = produced_by(input_of(node, 0), "DequantizeLinear")
        if dequantize is None:
            continue
        quantize = produced_by(input_of(dequantize, 0), "QuantizeLinear")
        if quantize is not None and produced_by(input_of(quantize, 0), "Conv"):
            nodes.append(quantize)
    yield from one("these stand between a convolution and its activation", nodes)


def _depthwise(subject: Subject) -> Iterator[Match]:
    nodes = (node for node in _quantized(subject) if node.attributes.get_int("group", 1) > 1)
    yield from one("these grouped convolutions, blurs among them, are quantised", nodes)


def _squeeze(subject: Subject) -> Iterator[Match]:
    nodes = (node for node in _quantized(subject) if _pixels(input_of(node, 0)) == _ONE_PIXEL)
    yield from one("these convolutions see one pixel, as in squeeze-and-excite", nodes)


def _quantized(subject: Subject) -> Iterator[ir.Node]:
    """Give the convolutions of dequantised activations."""
    return (
        node
        for node in subject.of("Conv")
        if produced_by(input_of(node, 0), "DequantizeLinear") is not None
    )


def _pixels(value: ir.Value | None) -> tuple[int, ...] | None:
    if value is None or value.shape is None or len(value.shape) != _KERNEL_RANK:
        return None
    sides = tuple(size for size in value.shape[2:] if isinstance(size, int))
    return sides if len(sides) == len(_ONE_PIXEL) else None


def _integer_type(node: ir.Node) -> ir.DataType | None:
    """Return the type on the integer side; QuantizeLinear makes uint8 where nothing says more."""
    zero = input_of(node, _ZERO_POINT)
    if zero is not None:
        return dtype_of(zero)
    if node.op_type == "DequantizeLinear":
        return dtype_of(input_of(node, 0))
    asked = node.attributes.get_int("output_dtype", 0)
    return ir.DataType(asked) if asked else ir.DataType.UINT8


RULES: Final = (
    Rule(
        id="TRT040",
        severity="error",
        title="asymmetric or unsigned quantisation",
        remedy="quantise to signed int8 with zero point 0: tresnet-deploy quantize; in ONNX "
        "Runtime's quantize_static: QuantType.QInt8, ActivationSymmetric=True",
        find=_asymmetric,
    ),
    Rule(
        id="TRT041",
        severity="error",
        title="quantised bias",
        remedy="keep biases in float: tresnet-deploy quantize does; in ONNX Runtime's "
        "quantize_static: QuantizeBias=False",
        find=_quantized_bias,
    ),
    Rule(
        id="TRT042",
        severity="warning",
        title="activation quantised by channel",
        remedy="give each activation one scale, else the convolution after it computes in float; "
        "only weights may have one for each channel",
        find=_activation_by_channel,
    ),
    Rule(
        id="TRT043",
        severity="error",
        title="scale that is no positive number",
        remedy="calibrate again with images that reach these layers: tresnet-deploy quantize",
        find=_bad_scale,
    ),
    Rule(
        id="TRT044",
        severity="error",
        title="16-bit quantisation",
        remedy="quantise to int8: tresnet-deploy quantize",
        find=_sixteen_bits,
    ),
    Rule(
        id="TRT045",
        severity="warning",
        title="Q/DQ between a convolution and its activation",
        remedy="quantise after the activation, else the two cannot be one kernel: tresnet-deploy "
        "quantize does; in ONNX Runtime: OpTypesToExcludeOutputQuantization=['Conv', 'Gemm']",
        find=_before_activation,
    ),
    Rule(
        id="TRT046",
        severity="warning",
        title="quantised depthwise convolution",
        remedy="keep blurs in float: INT8 is no faster there, and rounding by channel changes "
        "their gain; tresnet-deploy quantize does by default",
        find=_depthwise,
    ),
    Rule(
        id="TRT047",
        severity="warning",
        title="quantised squeeze-and-excite",
        remedy="keep it in float: it is too small to gain; tresnet-deploy quantize does by default",
        find=_squeeze,
    ),
)
