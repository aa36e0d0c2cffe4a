"""ONNX Runtime: runs any graph of ours, and the second fastest CPU engine.

The engine is an ONNX file, rewritten so that its integer kernels apply. It is not the graph that
ONNX Runtime optimises for one processor: that one loads no faster (0.2 s for TResNet-L in INT8
either way) and runs on no other machine.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import onnx_ir
import onnxruntime

from tresnet_deploy import graph_files, passes, trust
from tresnet_deploy.backends import _engine
from tresnet_deploy.backends._onnxruntime_session import PROVIDERS, OnnxRuntimeSession, Options
from tresnet_deploy.contracts import Artifact, Batch, Precision, Probe

__all__ = [
    "GRAPHS",
    "READS",
    "WRITES",
    "Options",
    "build",
    "load",
    "options_for",
    "probe",
    "session_of",
    "showing",
]

READS: Final = "onnx"
WRITES: Final = ".onnxruntime.onnx"
GRAPHS: Final[Mapping[Precision, Precision]] = {"fp32": "fp32", "fp16": "fp16", "int8": "int8"}

_NAME: Final = "onnxruntime"
_log = logging.getLogger(__name__)


def options_for(_precision: Precision) -> Options:
    """Return the options that make the fastest engine: the same for every precision."""
    return Options()


def probe() -> Probe:
    """Say what ONNX Runtime can do here."""
    found = onnxruntime.get_available_providers()
    devices = tuple(name for name, provider in PROVIDERS.items() if provider in found)
    return Probe(
        usable=True,
        reason="runs on the CPU; fp16 is computed in FP32 there, so it is slower than fp32",
        version=onnxruntime.__version__,
        devices=devices,
        precisions=tuple(GRAPHS),
    )


def build(source: Artifact, path: Path, *, batch: Batch, options: Options) -> Artifact:
    """Write the graph of ``source``, rewritten for ONNX Runtime, to ``path``.

    Raises:
        ArtifactError: the ONNX file is damaged.
    """
    model = graph_files.load(source.path)
    # TensorRT, which the GPU providers lead to, wants the signed grid that the graph has.
    names: tuple[str, ...] = ("inline-operators",)
    if options.provider == "cpu":
        safe = _engine.overflow_safe(options.overflow_safe, source.precision)
        options = dataclasses.replace(options, overflow_safe=safe)
        names = passes.order_for(_NAME, overflow_safe=safe is True)
    for name, outcome in passes.run(model, names):
        for refusal in outcome.left:
            _log.info("%s leaves %s: %s", name, refusal.match, refusal.reason)
    if batch.fixed:
        for value in (*model.graph.inputs, *model.graph.outputs):
            assert value.shape is not None
            value.shape = onnx_ir.Shape([batch.max, *value.shape[1:]])
    engine = _engine.describe(
        source,
        path,
        backend=_NAME,
        precision=source.precision,
        batch=batch,
        device=_engine.this_cpu() if options.provider == "cpu" else options.provider,
        options=options,
        versions={_NAME: onnxruntime.__version__},
    )
    graph_files.embed(model, engine)
    graph_files.save(model, path)
    return engine


def load(artifact: Artifact) -> OnnxRuntimeSession:
    """Load an engine, or an ONNX artefact as it is.

    Raises:
        ArtifactError: it is another backend's engine, or was changed since its build.
        RunError: ONNX Runtime refuses the file.
        UnavailableError: the engine wants a GPU that is not here.
    """
    options = _engine.options_of(artifact, Options, backend=_NAME)
    trust.check_before_loading(artifact)
    return OnnxRuntimeSession(
        str(artifact.path), options=options, batch=artifact.batch, int8=artifact.precision != "fp8"
    )


def showing(artifact: Artifact, names: Sequence[str]) -> OnnxRuntimeSession:
    """Load an engine or an ONNX artefact so that its inner tensors ``names`` are fetched as well.

    Raises:
        ArtifactError: it is another backend's engine, or damaged.
        RunError: ONNX Runtime refuses the file, or it has no such tensor.
    """
    options = _engine.options_of(artifact, Options, backend=_NAME)
    return session_of(graph_files.load(artifact.path), extra_outputs=names, options=options)


def session_of(
    model: onnx_ir.Model,
    *,
    extra_outputs: Sequence[str] = (),
    options: Options | None = None,
    alone: bool = True,
) -> OnnxRuntimeSession:
    """Load an in-memory graph; the tensors named in ``extra_outputs`` are fetched as well.

    The model itself is not changed. Used by calibration and to find where accuracy goes. Where many
    sessions take turns, ``alone`` False keeps the threads of one out of the next one's way, and its
    memory small: 46 pieces of TResNet-M run forty times as fast, in 500 MiB less.

    Raises:
        RunError: ONNX Runtime refuses the graph, or it has no such tensor.
    """
    proto = onnx_ir.to_proto(model)
    present = {value.name for value in proto.graph.output}
    for name in dict.fromkeys(extra_outputs):
        if name not in present:
            proto.graph.output.add(name=name)
    return OnnxRuntimeSession(
        proto.SerializeToString(),
        options=options or Options(),
        alone=alone,
        int8=not any(_scales_other_than_int8(node) for node in model.graph),
    )


def _scales_other_than_int8(node: onnx_ir.Node) -> bool:
    """Whether ``node`` makes FP8 numbers, or integers of other floats than FP32."""
    if node.op_type != "QuantizeLinear":
        return False
    scale, steps = node.inputs[1], node.outputs[0]
    return (scale is not None and scale.dtype != onnx_ir.DataType.FLOAT) or steps.dtype not in (
        onnx_ir.DataType.INT8,
        onnx_ir.DataType.UINT8,
    )
