"""OpenVINO: the fastest CPU engine measured here, in FP32, bf16 and INT8.

The engine is OpenVINO's portable IR: ``.xml``, with the weights in ``.bin``. Compiling it for a
processor takes 1 s for TResNet-L in INT8; for such graphs the compiled form lies beside it as
``.blob`` and loads in half of that. It is used only by the version and processor that made it.
"""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import onnx_ir
import openvino
from openvino import properties
from openvino.properties import hint

from tresnet_deploy import environment, graph_files, passes, trust
from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.backends import _engine
from tresnet_deploy.backends._cpu import Threads, available_cores
from tresnet_deploy.backends._openvino_session import (
    DEVICE,
    Compiled,
    OpenVinoSession,
    with_batch,
)
from tresnet_deploy.contracts import (
    Artifact,
    Batch,
    FileDigest,
    Precision,
    Probe,
    TensorSpec,
)
from tresnet_deploy.errors import BuildError, RunError

READS: Final = "onnx"
WRITES: Final = ".openvino.xml"
GRAPHS: Final[Mapping[Precision, Precision]] = {
    "fp32": "fp32",
    "fp16": "fp32",
    "bf16": "fp32",
    "int8": "int8",
}

InferencePrecision = Literal["f32", "bf16", "f16"]

_NAME: Final = "openvino"
_BLOB: Final = ".blob"
_FULL_BYTES: Final = 1 << 20
_HINTS: Final[Mapping[Precision, InferencePrecision]] = {
    "fp32": "f32",
    "fp16": "f16",
    "bf16": "bf16",
}
PRECISION_OPTION: Final = "inference_precision"
_CAPABILITIES: Final[Mapping[Precision, str]] = {
    "fp32": "FP32",
    "fp16": "FP16",
    "bf16": "BF16",
    "int8": "INT8",
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``threads`` 0: one for each physical core that this process may use.

    ``inference_precision`` is what the float part of the graph is computed in: the one setting of
    precision that is not in the graph. ``overflow_safe``: an INT8 engine has no integers that
    a CPU overflows with which adds two products of bytes in 16 bits; None: as this CPU needs it.
    """

    threads: Threads = 0
    inference_precision: InferencePrecision = "f32"
    overflow_safe: bool | None = None


def options_for(precision: Precision) -> Options:
    """Return the options that make the fastest engine of ``precision`` on this machine.

    Where the CPU computes bf16, the float remainder of an INT8 graph gains 1-8 % by it.
    """
    if precision == "int8":
        return Options(inference_precision="bf16" if environment.computes_bf16() else "f32")
    return Options(inference_precision=_HINTS[precision])


def probe() -> Probe:
    """Say what OpenVINO can do on this CPU."""
    try:
        found = openvino.Core().get_property(DEVICE, "OPTIMIZATION_CAPABILITIES")
    except RuntimeError as error:
        return Probe(usable=False, reason=f"OpenVINO finds no CPU plugin: {error}")
    able = tuple(precision for precision, name in _CAPABILITIES.items() if name in found)
    return Probe(
        usable=True,
        reason="runs on the CPU",
        version=openvino.get_version(),
        devices=(environment.processor(),),
        precisions=able,
    )


def build(source: Artifact, path: Path, *, batch: Batch, options: Options) -> Artifact:
    """Write the graph of ``source`` as OpenVINO's IR to ``path``, and its compiled form.

    Raises:
        ArtifactError: the ONNX file is damaged.
        BuildError: OpenVINO refuses the graph.
        OSError: the disk is full.
    """
    safe = _engine.overflow_safe(options.overflow_safe, source.precision)
    options = dataclasses.replace(options, overflow_safe=safe)
    try:
        names = passes.order_for(_NAME, overflow_safe=safe is True)
        model = with_batch(_read_onnx(source.path, names), _sizes(batch))
        lone = _blob_of(model, batch, options) if source.precision == "int8" else None
    except RuntimeError as error:
        raise BuildError(f"OpenVINO cannot compile {source.path.name}: {error}") from error
    _save(model, path)
    companions: tuple[FileDigest, ...] = ()
    if lone is not None:
        blob = path.with_suffix(_BLOB)
        blob.write_bytes(lone)
        companions = (FileDigest(name=blob.name, sha256=sha256_of(blob)),)
    engine = _engine.describe(
        source,
        path,
        backend=_NAME,
        precision=_precision(source.precision, options),
        batch=batch,
        device=_engine.this_cpu(),
        options=options,
        versions={_NAME: openvino.get_version()},
    )
    return dataclasses.replace(engine, companions=companions)


def load(artifact: Artifact) -> OpenVinoSession:
    """Load an engine, or an ONNX artefact as it is.

    Raises:
        ArtifactError: it is another backend's engine, changed since its build, or a damaged ONNX
            file.
        RunError: OpenVINO refuses the file.
    """
    options = _engine.options_of(artifact, Options, backend=_NAME)
    trust.check_before_loading(artifact)
    properties = _properties(options)
    try:
        if artifact.kind == "onnx":
            model, compiled = _read_onnx(artifact.path, _to_read(artifact.precision)), None
        else:
            model = openvino.Core().read_model(artifact.path)
            compiled = _compiled(artifact, properties)
    except RuntimeError as error:
        raise RunError(
            f"OpenVINO {openvino.get_version()} cannot read {artifact.path.name}: {error}",
            hints=("tresnet-deploy build-engine --backend openvino --overwrite",),
        ) from error
    return OpenVinoSession(
        model,
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        properties=properties,
        batch=artifact.batch,
        compiled=compiled,
    )


def showing(artifact: Artifact, names: Sequence[str]) -> OpenVinoSession:
    """Load an engine or an ONNX artefact so that its inner tensors ``names`` are fetched as well.

    They follow the outputs in the order of ``names``.

    Raises:
        ArtifactError: it is another backend's engine, or damaged.
        RunError: OpenVINO refuses the file, or it has no such tensor.
    """
    options = _engine.options_of(artifact, Options, backend=_NAME)
    try:
        if artifact.kind == "onnx":
            model = _read_onnx(artifact.path, _to_read(artifact.precision))
        else:
            model = openvino.Core().read_model(artifact.path)
        known = {each for op in model.get_ops() for out in op.outputs() for each in out.get_names()}
        missing = [name for name in names if name not in known]
        if missing:
            raise RunError(f"OpenVINO has fused {missing[0]} with what follows")
        model.add_outputs(list(names))
    except RuntimeError as error:
        raise RunError(f"OpenVINO cannot show these tensors: {error}") from error
    inner = tuple(TensorSpec(name=name, dtype="float32", shape=()) for name in names)
    return OpenVinoSession(
        model,
        inputs=artifact.inputs,
        outputs=(*artifact.outputs, *inner),
        properties=_properties(options),
        batch=artifact.batch,
    )


def _to_read(precision: Precision) -> tuple[str, ...]:
    """Return the passes for a graph that is to be run as it is."""
    if precision == "int8" and environment.overflows_int8():
        return passes.order_for(_NAME, overflow_safe=True)
    return ("inline-operators",)  # OpenVINO reads no model-local functions


def _sizes(batch: Batch) -> int | tuple[int, int]:
    return batch.max if batch.fixed else (batch.min, batch.max)


def _blob_of(model: openvino.Model, batch: Batch, options: Options) -> bytes:
    """Return ``model`` compiled for the smallest batch, which a lone request has."""
    compiled = openvino.Core().compile_model(
        with_batch(model, batch.min), DEVICE, _properties(options)
    )
    exported: bytes = compiled.export_model().getvalue()
    return exported


def _save(model: openvino.Model, path: Path) -> None:
    """Write ``model`` as ``.xml`` and ``.bin``.

    Half-size weights would round FP32 ones; what a graph holds is what an engine runs.
    """
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # "iostream error", whatever the reason
        if shutil.disk_usage(path.parent).free < _FULL_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise BuildError(f"OpenVINO cannot write {path.name}: {error}") from error


def _read_onnx(path: Path, names: tuple[str, ...]) -> openvino.Model:
    graph = graph_files.load(path)
    passes.run(graph, names)
    return openvino.Core().read_model(onnx_ir.to_proto(graph).SerializeToString())


def _compiled(artifact: Artifact, properties: Mapping[str, object]) -> Compiled | None:
    """Return the form compiled at build time, if this very version and processor made it.

    Only a file that the sidecar vouches for is read: importing runs native code on it.
    """
    blob = artifact.path.with_suffix(_BLOB)
    if artifact.batch is None or blob.name not in {each.name for each in artifact.companions}:
        return None
    made_by = (artifact.versions.get(_NAME), artifact.device)
    if made_by != (openvino.get_version(), _engine.this_cpu()):
        _log.info(
            "%s was compiled by OpenVINO %s on %s: compiling it again for this machine",
            artifact.path.name,
            *made_by,
        )
        return None
    model = openvino.Core().import_model(blob.read_bytes(), DEVICE, dict(properties))
    return Compiled(model=model, batch=artifact.batch.min)


def _properties(options: Options) -> dict[str, object]:
    """Return OpenVINO's properties for ``options``: one stream with the lowest latency."""
    kinds = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16, "f16": openvino.Type.f16}
    return {
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        hint.inference_precision: kinds[options.inference_precision],
        properties.inference_num_threads: options.threads or available_cores(),
    }


def _precision(graph: Precision, options: Options) -> Precision:
    """Return what an engine computes in, which the hint decides for FP32 graphs alone."""
    if graph != "fp32":
        return graph
    return {hint_: name for name, hint_ in _HINTS.items()}[options.inference_precision]
