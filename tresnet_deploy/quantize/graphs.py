"""What both steps share: the FP32 graph they start from, sessions, and the artefact they make."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx_ir as ir

from tresnet_deploy import graph_files
from tresnet_deploy.contracts import Artifact, FileDigest, Precision, Scalar, Session
from tresnet_deploy.errors import UsageError
from tresnet_deploy.registry import BACKENDS

_RUNTIME: Final = "onnxruntime"  # gives any tensor of a graph, and runs INT8 and FP16 as written
_EXPORT: Final = "tresnet-deploy export"
_QUANTIZERS: Final = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger")

OpenSession = Callable[[ir.Model, Sequence[str]], Session]
"""Loads a graph with the named tensors as further outputs."""


def require_fp32(artifact: Artifact, wanted: str) -> None:
    """Refuse what is no FP32 ONNX file with a UsageError; ``wanted`` is made from such."""
    if artifact.kind != "onnx" or artifact.precision != "fp32":
        what = artifact.precision if artifact.kind == "onnx" else artifact.kind
        raise UsageError(
            f"{artifact.path} is no FP32 graph but {what}; {wanted} is made from FP32",
            hints=(_float_parent(artifact) or _EXPORT,),
        )


def _float_parent(artifact: Artifact) -> str:
    """Return the way to the FP32 graph that ``artifact`` was made of, where it lies beside it."""
    graphs = [each.name for each in artifact.parents if each.name.endswith(".onnx")]
    found = artifact.path.with_name(graphs[-1]) if graphs else None
    return f"name the graph that it was made of: {found}" if found and found.is_file() else ""


def float_graph(artifact: Artifact) -> ir.Model:
    """Return the graph of ``artifact``.

    Raises:
        UsageError: it has quantised nodes.
        ArtifactError: the file is damaged.
    """
    model = graph_files.load(artifact.path)
    found = [node for node in model.graph if node.op_type in _QUANTIZERS]
    if found:
        raise UsageError(
            f"{artifact.path} is quantised already: it has {len(found)} nodes such as "
            f"{found[0].name or found[0].op_type}",
            hints=(_EXPORT,),
        )
    return model


def child(
    artifact: Artifact,
    path: Path,
    *,
    step: str,
    precision: Precision,
    settings: Mapping[str, Scalar],
) -> Artifact:
    """Return what ``step`` makes of ``artifact`` at ``path``; hashes come when it is published."""
    return dataclasses.replace(
        artifact,
        path=path,
        step=step,
        precision=precision,
        parents=(FileDigest(name=artifact.path.name, sha256=artifact.sha256), *artifact.parents),
        settings={**artifact.settings, **settings},
    )


def runtime_session(model: ir.Model, extra_outputs: Sequence[str] = ()) -> Session:
    """Open ``model`` in ONNX Runtime with the named tensors as further outputs.

    Raises:
        UnavailableError: ONNX Runtime is not installed.
        RunError: it refuses the graph.
    """
    session: Session = BACKENDS.load(_RUNTIME).session_of(model, extra_outputs=extra_outputs)
    return session
