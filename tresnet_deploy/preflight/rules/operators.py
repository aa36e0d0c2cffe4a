"""TRT010 and TRT011: operators that TensorRT's parser does not take, or only with a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from tresnet_deploy.preflight.rules._rule import Match, Rule, Subject, one

# Refused by the parser of TensorRT-RTX 1.7, each tried in a graph of its own. TensorRT's own table
# (onnx-tensorrt, docs/operators.md) agrees, but for DeformConv, which there is a plugin.
_UNSUPPORTED: Final = """
    AffineGrid Bernoulli BitCast BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor
    CausalConvWithState CenterCropPad Col2Im Compress ConcatFromSequence ConvInteger CumProd DFT
    DeformConv Det DynamicQuantizeLinear FlexAttention ImageDecoder LinearAttention MatMulInteger
    MaxRoiPool MaxUnpool MelWeightMatrix Multinomial NegativeLogLikelihoodLoss Optional
    OptionalGetElement OptionalHasElement QLinearConv QLinearMatMul RegexFullMatch SequenceAt
    SequenceConstruct SequenceEmpty SequenceErase SequenceInsert SequenceLength SequenceMap
    SoftmaxCrossEntropyLoss SplitToSequence StringConcat StringNormalizer StringSplit SwiGLU
    TfIdfVectorizer Unique
"""
# These are plugins whose creators ask CUDA.
_NEEDS_GPU: Final = ("NonZero", "RoiAlign")


def _unsupported(subject: Subject) -> Iterator[Match]:
    found: dict[str, list[ir.Node]] = {}
    for node in subject.of(*_UNSUPPORTED.split()):
        found.setdefault(node.op_type, []).append(node)
    for op_type, nodes in found.items():
        yield from one(f"TensorRT has no {op_type}", nodes)


def _needs_gpu(subject: Subject) -> Iterator[Match]:
    yield from one("its plugin asks the GPU while the graph is parsed", subject.of(*_NEEDS_GPU))


RULES: Final = (
    Rule(
        id="TRT010",
        severity="error",
        title="operator that TensorRT does not have",
        remedy="replace it by other operators before export; for quantised operators "
        "(QLinear..., ...Integer) use pairs of Q and DQ: tresnet-deploy quantize",
        find=_unsupported,
    ),
    Rule(
        id="TRT011",
        severity="warning",
        title="operator that builds only where a GPU is",
        remedy="build on the machine with the GPU",
        find=_needs_gpu,
    ),
)
