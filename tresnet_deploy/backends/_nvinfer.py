"""NVIDIA's two runtimes, TensorRT and TensorRT for RTX, behind one adapter.

Every function takes the runtime's module, so both can live in one process. They differ by what
they can do, which is asked of the module, never by a version number: TensorRT builds on a GPU for
that GPU, TensorRT-RTX builds anywhere for named compute capabilities.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Final

import onnx_ir as ir

from tresnet_deploy import fusions, gpus, graph_files, passes
from tresnet_deploy.artifacts import sha256_of, to_json
from tresnet_deploy.backends import _engine, _nvinfer_build, _nvinfer_plugins
from tresnet_deploy.backends._nvinfer_options import (
    Options,
    Remainder,
    capabilities_of,
    names_targets,
    profiles_of,
)
from tresnet_deploy.backends._nvinfer_probe import Kind
from tresnet_deploy.backends._nvinfer_request import Range, Reply, Request
from tresnet_deploy.contracts import (
    CALIBRATED,
    Artifact,
    Batch,
    FileDigest,
    Preprocess,
    Scalar,
    TensorSpec,
)
from tresnet_deploy.errors import ArtifactError, UsageError
from tresnet_deploy.precision.half import to_half

_PORTABLE: Final = (
    "compute capabilities 8.0, 8.6, 8.9, 12.0, 12.1 and later"  # num_compute_capabilities 0
)
_HALF: Final[dict[Remainder, ir.DataType]] = {
    "fp16": ir.DataType.FLOAT16,
    "bf16": ir.DataType.BFLOAT16,
}


def build(kind: Kind, source: Artifact, path: Path, *, batch: Batch, options: Options) -> Artifact:
    """Write the engine of ``source`` to ``path``, and beside it what the builder fused.

    Raises:
        UsageError: an option does not fit the graph or the batch.
        ArtifactError: the ONNX file is damaged.
        BuildError: the runtime refuses the graph, aborts, is killed, or takes too long.
        OSError: the disk is full.
    """
    batches = profiles_of(options) or (batch,)
    _check(source, batch, batches, options)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".graph-") as folder:
        model = graph_files.load(source.path)
        plugins = _nvinfer_plugins.asked_for(kind.runtime, model, options.operators)
        graph = _graph(kind, source.path, model, Path(folder), options)
        ranges = _nvinfer_build.profiles_of(source.inputs, batches, source.preprocess)
        request = _nvinfer_plugins.asking(_request(kind, graph, path, options, ranges), plugins)
        reply = _nvinfer_build.run(
            request, title=kind.title, graph=source.path.name, timeout_s=options.timeout_s
        )
    engine = _engine.describe(
        source,
        path,
        backend=kind.name,
        precision=source.precision,
        batch=batch,
        device=_device(kind, options),
        options=options,
        versions={kind.name: reply.version},
    )
    companions = _write_layers(reply.layers, model, path)
    engine = _nvinfer_plugins.recorded(engine, plugins)
    return _with_record(engine, source.preprocess, companions, reply)


def _check(source: Artifact, batch: Batch, batches: tuple[Batch, ...], options: Options) -> None:
    covered = Batch.around(batches)
    if (covered.min, covered.max) != (batch.min, batch.max):
        raise UsageError(
            f"the profiles {options.profiles} take batches of {covered.min} to {covered.max}, and "
            f"the engine is for {batch.min} to {batch.max}",
            hints=tuple(f"--batch {each}" for each in batches),
        )
    if options.remainder != "fp32" and source.precision not in CALIBRATED:
        raise UsageError(
            f"the option remainder is for graphs with Q/DQ pairs, and {source.path.name} is in "
            f"{source.precision} as a whole",
            hints=("leave remainder out",),
        )


def _graph(kind: Kind, path: Path, model: ir.Model, folder: Path, options: Options) -> Path:
    """Rewrite ``model`` for the runtime, in place, and return the file to parse.

    It is ``path`` itself where nothing had to change, or else a new one in ``folder``.
    """
    outcomes = passes.run(model, passes.order_for(kind.name))
    changed = any(outcome.changed for _, outcome in outcomes)
    if options.remainder != "fp32":
        to_half(model, _HALF[options.remainder])
    elif not changed and options.operators == "as-exported":
        return path
    rewritten = folder / "graph.onnx"
    graph_files.save(model, rewritten)
    return rewritten


def _write_layers(text: str | None, model: ir.Model, engine: Path) -> tuple[FileDigest, ...]:
    """Write what was fused beside the engine, where the builder told, and return that file."""
    if text is None:
        return ()
    path = fusions.companion_of(engine)
    path.write_bytes(to_json(fusions.parse(text, fusions.facts_of(model))))
    return (FileDigest(name=path.name, sha256=sha256_of(path)),)


def _request(
    kind: Kind, graph: Path, engine: Path, options: Options, ranges: tuple[tuple[Range, ...], ...]
) -> Request:
    return Request(
        runtime=kind.runtime.__name__,
        graph=str(graph),
        engine=str(engine),
        profiles=ranges,
        capabilities=capabilities_of(options),
        workspace_mib=options.workspace_mib,
        optimization_level=options.optimization_level,
        tf32=options.tf32,
        weight_streaming=options.weight_streaming,
        hardware_compatible=options.hardware_compatible,
        version_compatible=options.version_compatible,
        refit=options.refit,
        timing_cache=options.timing_cache,
    )


def _device(kind: Kind, options: Options) -> str:
    """Return what the engine is for: named GPUs, or the one that it was built on."""
    if not names_targets(kind.runtime):
        return ", ".join(map(str, gpus.visible()[:1]))
    named = capabilities_of(options)
    if not named:
        return _PORTABLE
    return f"compute capabilities {', '.join(f'{major}.{minor}' for major, minor in named)}"


def _with_record(
    engine: Artifact, preprocess: Preprocess, companions: tuple[FileDigest, ...], reply: Reply
) -> Artifact:
    """Return ``engine`` with what its file and the builder tell of themselves."""
    record: dict[str, Scalar] = {
        "build.builder_seconds": reply.seconds,
        "build.builder_peak_mib": reply.peak_mib,
    }
    return dataclasses.replace(
        engine,
        inputs=tuple(_nvinfer_build.with_sides(spec, preprocess) for spec in engine.inputs),
        companions=companions,
        settings={**engine.settings, **record},
    )


def layers_of(kind: Kind, path: Path, *, batch: Batch) -> str | None:
    """Return the builder's text on the fused layers of the ONNX file ``path``; None without one.

    The engine is built for that, and thrown away. Open sides are those of its preprocessing, or
    224 px where the file does not say.

    Raises:
        UsageError: there is no such file, or its first input is a scalar.
        ArtifactError: the ONNX file is damaged.
        BuildError: the runtime refuses the graph.
    """
    model = graph_files.load(path)
    _nvinfer_plugins.asked_for(kind.runtime, model)
    inputs, _ = graph_files.tensor_specs(model)
    if not inputs or not inputs[0].shape:
        raise UsageError(f"{path} takes no batch: its first input has no dimension")
    fixed = inputs[0].shape[0]
    asked = Batch(min=fixed, opt=fixed, max=fixed) if isinstance(fixed, int) else batch
    with tempfile.TemporaryDirectory(prefix="tresnet-deploy-") as folder:
        options = Options()
        graph = _graph(kind, path, model, Path(folder), options)
        ranges = _nvinfer_build.profiles_of(inputs, (asked,), _preprocess_of(path, inputs))
        request = _request(kind, graph, Path(folder) / "engine", options, ranges)
        reply = _nvinfer_build.run(
            request, title=kind.title, graph=path.name, timeout_s=options.timeout_s
        )
    return reply.layers


def _preprocess_of(path: Path, inputs: tuple[TensorSpec, ...]) -> Preprocess:
    try:
        return graph_files.artifact_of(path).preprocess
    except ArtifactError:  # somebody else's file
        return Preprocess(layout="uint8-nhwc" if inputs[0].dtype == "uint8" else "float32-nchw")
