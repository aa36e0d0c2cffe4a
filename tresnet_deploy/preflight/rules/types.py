"""TRT020 to TRT027: types of tensors, alone and for the GPUs that are meant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import onnx_ir as ir

from tresnet_deploy.preflight.rules._rule import (
    FLOATS,
    Match,
    Rule,
    Subject,
    dtype_of,
    input_of,
    one,
)
from tresnet_deploy.preflight.targets import FIRST_WITH_BFLOAT16, FIRST_WITH_FLOAT8, TURING

_INTEGERS: Final = (ir.DataType.INT32, ir.DataType.INT64)
_FLOAT8: Final = (
    ir.DataType.FLOAT8E4M3FN,
    ir.DataType.FLOAT8E4M3FNUZ,
    ir.DataType.FLOAT8E5M2,
    ir.DataType.FLOAT8E5M2FNUZ,
)
_ARITHMETIC: Final = """
    Abs Add Clip Div Gemm LeakyRelu MatMul Max Mean Min Mul Neg Pow Relu ReduceL1 ReduceL2
    ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Sub Sum
"""
# All float inputs of these must be of one type. BatchNormalization's may differ: it builds.
_ONE_TYPE: Final = """
    Add Concat Conv ConvTranspose Div Einsum Equal Gemm Greater GreaterOrEqual
    InstanceNormalization Less LessOrEqual MatMul Max Mean Min Mul PRelu Sub Sum Where
"""
_MATRIX_PRODUCTS: Final = ("Gemm", "MatMul")


def _integers(subject: Subject) -> Iterator[Match]:
    """Shapes are integers too, but of rank 1 at most: arithmetic on those is no finding."""
    nodes = (
        node
        for node in subject.of(*_ARITHMETIC.split())
        if any(v is not None and v.dtype in _INTEGERS and _rank(v) > 1 for v in node.inputs)
    )
    yield from one("these compute on int32 or int64 tensors", nodes)


def _doubles(subject: Subject) -> Iterator[Match]:
    yield from one(
        "float64 becomes FP32 in the parser, where it is taken at all",
        _touching(subject, (ir.DataType.DOUBLE,)),
    )


def _mixed(subject: Subject) -> Iterator[Match]:
    found: dict[str, list[ir.Node]] = {}
    for node in subject.of(*_ONE_TYPE.split()):
        types = {v.dtype for v in node.inputs if v is not None and v.dtype in FLOATS}
        if len(types) > 1:
            kinds = " and ".join(sorted(dtype.name for dtype in types if dtype is not None))
            found.setdefault(kinds, []).append(node)
    for kinds, nodes in found.items():
        yield from one(f"{kinds} meet without a Cast", nodes)


def _bfloat16_batch_norm(subject: Subject) -> Iterator[Match]:
    nodes = (
        node
        for node in subject.of("BatchNormalization")
        if any(v is not None and v.dtype == ir.DataType.BFLOAT16 for v in node.inputs)
    )
    yield from one("BatchNormalization is left in a bfloat16 graph", nodes)


def _float32_products(subject: Subject) -> Iterator[Match]:
    if TURING not in subject.targets:
        return
    nodes = (
        node
        for node in subject.of(*_MATRIX_PRODUCTS)
        if dtype_of(input_of(node, 0)) == ir.DataType.FLOAT
    )
    yield from one(f"TensorRT-RTX has no FP32 matrix product for {TURING}", nodes)


def _bfloat16_targets(subject: Subject) -> Iterator[Match]:
    if old := subject.below(FIRST_WITH_BFLOAT16):
        yield from one(
            f"{_listed(old)} cannot compute in bfloat16",
            _touching(subject, (ir.DataType.BFLOAT16,)),
        )


def _float8_targets(subject: Subject) -> Iterator[Match]:
    if old := subject.below(FIRST_WITH_FLOAT8):
        yield from one(f"{_listed(old)} cannot compute in FP8", _touching(subject, _FLOAT8))


def _integer_borders(subject: Subject) -> Iterator[Match]:
    names = tuple(
        value.name or "unnamed"
        for value in subject.model.graph.inputs
        if value.dtype in _INTEGERS and not value.is_initializer()
    )
    if names:
        yield Match(message="these inputs are int32 or int64", nodes=names)


def _touching(subject: Subject, dtypes: Iterable[ir.DataType]) -> Iterator[ir.Node]:
    wanted = tuple(dtypes)
    return (
        node
        for node in subject.nodes
        if any(v is not None and v.dtype in wanted for v in (*node.inputs, *node.outputs))
    )


def _rank(value: ir.Value) -> int:
    return 0 if value.shape is None else len(value.shape)


def _listed(targets: Iterable[object]) -> str:
    return "compute capability " + ", ".join(map(str, targets))


RULES: Final = (
    Rule(
        id="TRT020",
        severity="warning",
        title="integers in a compute path",
        remedy="compute in float, and cast only what is an index",
        find=_integers,
    ),
    Rule(
        id="TRT021",
        severity="warning",
        title="float64",
        remedy="export the model in FP32: model.float() before the export",
        find=_doubles,
    ),
    Rule(
        id="TRT022",
        severity="error",
        title="float types mixed without a Cast",
        remedy="put a Cast where the types meet; for a bfloat16 convolution with FP32 weights fold "
        "the batch norms first: tresnet-deploy build-engine --precision bf16 does",
        find=_mixed,
    ),
    Rule(
        id="TRT023",
        severity="warning",
        title="batch norm not folded in a bfloat16 graph",
        remedy="fold it into the convolution in FP32, as tresnet-deploy export does: afterwards "
        "its numbers have 8 bits, and a later fold by an exporter mixes types (TRT022)",
        find=_bfloat16_batch_norm,
    ),
    Rule(
        id="TRT024",
        severity="error",
        title="FP32 matrix product for Turing",
        remedy="build in FP16: tresnet-deploy build-engine --precision fp16; or leave 7.5 out",
        find=_float32_products,
    ),
    Rule(
        id="TRT025",
        severity="error",
        title="bfloat16 for a GPU without it",
        remedy="build in FP16, or leave GPUs before 8.0 out",
        find=_bfloat16_targets,
    ),
    Rule(
        id="TRT026",
        severity="error",
        title="FP8 for a GPU without it",
        remedy="name the targets: --compute-capability 8.9; or quantise to INT8",
        find=_float8_targets,
    ),
    Rule(
        id="TRT027",
        severity="warning",
        title="integer input",
        remedy="take images as float32 or uint8: tresnet-deploy export --input uint8-nhwc",
        find=_integer_borders,
    ),
)
