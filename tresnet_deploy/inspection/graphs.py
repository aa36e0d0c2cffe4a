"""What an ONNX file holds: operators, precisions, borders, and who made it how."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Final

import onnx_ir as ir

from tresnet_deploy import artifacts, fusions, graph_files
from tresnet_deploy.contracts import Batch
from tresnet_deploy.inspection.reports import FunctionCount, GraphReport, OperatorCount
from tresnet_deploy.registry import BACKENDS

_MIB: Final = 2**20
_STANDARD_DOMAINS: Final = ("", "ai.onnx")
_BUILDER: Final = "tensorrt-rtx"  # it builds without a GPU, and says what it fused


def inspect_graph(path: Path, *, fused_layers: bool = False) -> GraphReport:
    """Return what the ONNX file ``path`` holds.

    ``fused_layers`` builds an engine of it with TensorRT-RTX, whose kernels are reported, and
    throws it away.

    Raises:
        UsageError: there is no such file.
        ArtifactError: it is damaged or hostile, or not what its sidecar says.
        UnavailableError: TensorRT-RTX is to build and is not installed.
        BuildError: TensorRT-RTX refuses the graph.
    """
    model = graph_files.load(path)
    inputs, outputs = graph_files.tensor_specs(model)
    operators = Counter(_name(node) for node in ir.traversal.RecursiveGraphIterator(model.graph))
    foreign = {
        key: text
        for key, text in model.metadata_props.items()
        if not key.startswith(graph_files.PREFIX)
    }
    made_here = len(foreign) < len(model.metadata_props) or artifacts.sidecar_of(path).is_file()
    return GraphReport(
        path=str(path),
        size_mib=path.stat().st_size / _MIB,
        sha256=artifacts.sha256_of(path),
        producer=" ".join(filter(None, (model.producer_name, model.producer_version))),
        opsets=dict(model.opset_imports),
        ir_version=model.ir_version,
        inputs=inputs,
        outputs=outputs,
        weights=sum(_size(value) for value in model.graph.initializers.values()),
        operators=tuple(
            OperatorCount(operator=name, count=count) for name, count in operators.most_common()
        ),
        functions=tuple(
            FunctionCount(
                function=f"{function.domain}::{function.name}",
                body_nodes=len(function),
                calls=operators[f"{function.domain}::{function.name}"],
            )
            for function in model.functions.values()
        ),
        quantize_nodes=operators["QuantizeLinear"],
        dequantize_nodes=operators["DequantizeLinear"],
        metadata=foreign,
        artifact=graph_files.artifact_of(path) if made_here else None,
        layers=_layers(path, model) if fused_layers else None,
    )


def _layers(path: Path, model: ir.Model) -> fusions.FusionReport:
    text: str | None = BACKENDS.load(_BUILDER).layers_of(path, batch=Batch())
    return fusions.parse(text, fusions.facts_of(model))


def _name(node: ir.Node) -> str:
    if node.domain in _STANDARD_DOMAINS:
        return node.op_type
    return f"{node.domain}::{node.op_type}"


def _size(value: ir.Value) -> int:
    return 0 if value.const_value is None else value.const_value.size
