"""TRT001 to TRT007: the file itself, its versions, domains, plugins and weights elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import onnx_ir as ir

from tresnet_deploy.preflight.rules._rule import (
    STANDARD,
    Match,
    Rule,
    Subject,
    dtype_of,
    input_of,
    one,
)

# TensorRT 11, "ONNX Opset Guide"; TensorRT-RTX 1.7 has parsed opsets 11 to 27 here.
_OLDEST_OPSET: Final = 9
_NEWEST_OPSET: Final = 25
_OLDEST_IR: Final = 3
# The first opset whose operator takes the type.
_BFLOAT16_CONV: Final = 22
_FLOAT16_SCALES: Final = 19
_PER_AXIS_SCALES: Final = 13


def _too_old(subject: Subject) -> Iterator[Match]:
    opset = _opset(subject.model)
    if opset < _OLDEST_OPSET:
        yield Match(message=f"the graph is of opset {opset}; TensorRT reads {_OLDEST_OPSET} and up")
    if subject.model.ir_version < _OLDEST_IR:
        yield Match(message=f"the file is of IR version {subject.model.ir_version}")


def _too_new(subject: Subject) -> Iterator[Match]:
    opset = _opset(subject.model)
    if opset > _NEWEST_OPSET:
        yield Match(
            message=f"the graph is of opset {opset}; TensorRT 11 documents {_NEWEST_OPSET} at most"
        )


def _type_before_its_opset(subject: Subject) -> Iterator[Match]:
    opset = _opset(subject.model)
    if opset < _BFLOAT16_CONV:
        convolutions = (
            node
            for node in subject.of("Conv", "AveragePool", "MaxPool", "GlobalAveragePool")
            if dtype_of(input_of(node, 0)) == ir.DataType.BFLOAT16
        )
        yield from one(
            f"bfloat16 reaches these operators with opset {_BFLOAT16_CONV}; this is {opset}",
            convolutions,
        )
    pairs = tuple(subject.of("QuantizeLinear", "DequantizeLinear"))
    if opset < _FLOAT16_SCALES:
        half = (node for node in pairs if dtype_of(input_of(node, 1)) == ir.DataType.FLOAT16)
        yield from one(f"FP16 scales came with opset {_FLOAT16_SCALES}; this is {opset}", half)
    if opset < _PER_AXIS_SCALES:
        yield from one(
            f"before opset {_PER_AXIS_SCALES} a scale has no axis, so weights cannot be quantised "
            f"by channel; this is {opset}",
            pairs,
        )


def _foreign(subject: Subject) -> Iterator[Match]:
    domains: dict[str, list[ir.Node]] = {}
    for node in subject.nodes:
        if node.domain not in STANDARD:
            domains.setdefault(node.domain, []).append(node)
    for domain, nodes in domains.items():
        types = ", ".join(sorted({node.op_type for node in nodes}))
        yield from one(f"{types} of the domain {domain!r} has no function in this file", nodes)


def _unreadable(subject: Subject) -> Iterator[Match]:
    for problem in subject.unreadable:
        yield Match(message=problem)


def _unused(subject: Subject) -> Iterator[Match]:
    names = tuple(
        name
        for name, value in subject.model.graph.initializers.items()
        if not value.uses() and not value.is_graph_output()
    )
    if names:
        yield Match(message="no node reads these weights", nodes=names)


def _plugins(subject: Subject) -> Iterator[Match]:
    if subject.plugins:
        yield Match(message="these ask for a TensorRT plugin", nodes=subject.plugins)


def _opset(model: ir.Model) -> int:
    versions = (model.opset_imports.get(domain) for domain in STANDARD)
    return next((version for version in versions if version is not None), _OLDEST_OPSET)


RULES: Final = (
    Rule(
        id="TRT001",
        severity="error",
        title="opset or file version too old",
        remedy="export again with opset 18: tresnet-deploy export --opset 18",
        find=_too_old,
    ),
    Rule(
        id="TRT002",
        severity="warning",
        title="opset newer than documented",
        remedy="export with an older opset, such as 18, unless the parser check takes the file",
        find=_too_new,
    ),
    Rule(
        id="TRT003",
        severity="error",
        title="external weights missing or damaged",
        remedy="copy the weights' file along with the graph, or save both as one file",
        find=_unreadable,
    ),
    Rule(
        id="TRT004",
        severity="error",
        title="operator of a foreign domain without a body",
        remedy="give the file an ONNX function of that name, export with --operators inline, or "
        "load a plugin (TensorRT only; TensorRT-RTX takes none)",
        find=_foreign,
    ),
    Rule(
        id="TRT005",
        severity="warning",
        title="unused weights",
        remedy="remove them: they make the file larger and builds slower",
        find=_unused,
    ),
    Rule(
        id="TRT006",
        severity="warning",
        title="type newer than the opset",
        remedy="raise the opset: 22 for bfloat16, 19 for FP16 scales, 13 for scales by channel",
        find=_type_before_its_opset,
    ),
    Rule(
        id="TRT007",
        severity="warning",
        title="plugin asked for",
        remedy="build with TensorRT, where tresnet-deploy build-engine loads it; TensorRT-RTX "
        "takes none: export with --operators function",
        find=_plugins,
    ),
)
