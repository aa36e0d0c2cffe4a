"""FP32 to INT8, FP16 or bf16: this file is about the steps, from an ONNX artefact to a typed one.

   FP32 graph --calibrate, or a cached table--> ranges --place, insert--> Q/DQ graph --check--> file
   FP32 graph --type the layers------------------------------------> half graph --check--> file

A file appears only when a runtime has run it beside the FP32 graph on a few images.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import onnx_ir as ir

from tresnet_deploy import artifacts, environment, graph_files, passes
from tresnet_deploy.calibration import (
    DEFAULT_METHOD,
    Data,
    Noise,
    Pictures,
    dead_tensors,
    table_for,
)
from tresnet_deploy.contracts import (
    Artifact,
    CalibrationTable,
    FileDigest,
    Precision,
    Progress,
    Scalar,
    Session,
    no_progress,
)
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.images import ImageSet, sample, sample_photos
from tresnet_deploy.passes import pad_channels
from tresnet_deploy.precision import checking
from tresnet_deploy.precision.half import to_half
from tresnet_deploy.precision.pairs import insert
from tresnet_deploy.precision.placement import (
    ALL_ROLES,
    DEFAULT_ROLES,
    Placement,
    observed,
    place,
)
from tresnet_deploy.registry import BACKENDS, OBSERVERS

Half = Literal["fp16", "bf16"]

DEFAULT_SAMPLES: Final = 128

_RUNTIME: Final = "onnxruntime"  # gives any tensor of a graph, and runs INT8 and FP16 as written
_BF16_RUNTIME: Final = "openvino"  # ONNX Runtime's CPU provider has no bf16 convolution
_INLINE: Final = "inline-operators"
_EXPORT: Final = "tresnet-deploy export"
_QUANTIZERS: Final = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger")
_HALVES: Final = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}

OpenSession = Callable[[ir.Model, Sequence[str]], Session]
"""Loads a graph with the named tensors as further outputs."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """How to calibrate and what to quantise.

    ``samples`` images are drawn, as equally from all classes as they allow. ``exclude`` are regular
    expressions over node names: these layers stay float. ``quantize_all`` takes blur, SE and head
    too. ``strict`` refuses unreadable images instead of skipping them.
    ``random_calibration`` calibrates on noise, where there are no images at all. ``pad_channels``
    rounds channel counts up, exactly; None: where that is faster on this CPU.
    """

    method: str = DEFAULT_METHOD
    samples: int = DEFAULT_SAMPLES
    seed: int = 0
    exclude: tuple[str, ...] = ()
    quantize_all: bool = False
    strict: bool = False
    random_calibration: bool = False
    pad_channels: bool | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown method before any work is done."""
        if self.method not in OBSERVERS.names():
            OBSERVERS.load(self.method)
        if self.samples < 1:
            raise UsageError(f"cannot calibrate on {self.samples} images: ask for 1 or more")


def quantize(
    artifact: Artifact,
    target: Path,
    *,
    images: ImageSet | None,
    options: QuantizeOptions,
    overwrite: bool = False,
    open_session: OpenSession | None = None,
    progress: Progress = no_progress,
) -> Artifact:
    """Write the INT8 form of the FP32 ONNX ``artifact`` to ``target`` and return it.

    ``images`` None is allowed with ``random_calibration`` only. The calibration table is kept in
    ``calibration/`` beside ``target`` and reused for the same graph, images, preprocessing, method
    and version. ``open_session`` None takes ONNX Runtime. What the user should know (few images,
    skipped ones, dead activations) is logged as warnings.

    Raises:
        UsageError: the graph is not FP32, an option contradicts it, or ``target`` exists.
        ImageError: no image is readable, or one is not and the options are strict.
        UnavailableError: ONNX Runtime is missing, or the folder cannot be written.
        QuantizeError: activations or outputs are NaN or infinite.
    """
    _require_fp32(artifact, "INT8")
    data = _data(artifact, images, options)
    opened = open_session or _runtime_session
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        model = _float_graph(artifact)
        place(model.graph, exclude=options.exclude)  # refuses a wrong --exclude before any work
        for note in images.notes if images else ():
            _log.warning("%s", note)
        table = table_for(
            target.parent,
            functools.partial(opened, model),
            observed(model.graph),
            data,
            graph_sha256=artifact.sha256,
            method=options.method,
            batch=artifact.batch,
            progress=progress,
        )
        quantized = model.clone()
        settings = _quantize(quantized, table, options)
        done = _child(artifact, staging.path, step="quantize", precision="int8", settings=settings)
        graph_files.embed(quantized, done)
        graph_files.save(quantized, staging.path)
        found = checking.compare(opened(model, ()), opened(quantized, ()), data, artifact.batch)
        return staging.finish(dataclasses.replace(done, verified=str(found)))


def convert(
    artifact: Artifact,
    target: Path,
    *,
    precision: Half,
    images: ImageSet | None = None,
    overwrite: bool = False,
) -> Artifact:
    """Write the FP32 ONNX ``artifact`` typed in half ``precision`` to ``target`` and return it.

    Inputs and outputs stay FP32. ``images`` to check on are sample photographs unless given.
    A bf16 graph is run by OpenVINO; where that is missing only its types are checked.

    Raises:
        UsageError: the graph is not FP32, or ``target`` exists.
        UnavailableError: ONNX Runtime is missing, or the folder cannot be written.
        QuantizeError: a weight does not fit into FP16, or the outputs overflow.
    """
    _require_fp32(artifact, precision.upper())
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        model = _float_graph(artifact)
        half = model.clone()
        layers = to_half(half, _HALVES[precision])
        settings: dict[str, Scalar] = {"half_layers": layers, "opset": half.opset_imports[""]}
        done = _child(
            artifact, staging.path, step="convert", precision=precision, settings=settings
        )
        graph_files.embed(half, done)
        graph_files.save(half, staging.path)
        data = Pictures(images=images or sample_photos(), preprocess=artifact.preprocess)
        candidate = _half_session(done, half)
        if candidate is None:
            verified = "types checked; not run, as no runtime here computes bf16"
        else:
            reference = _runtime_session(model, ())
            verified = str(checking.compare(reference, candidate, data, artifact.batch))
        return staging.finish(dataclasses.replace(done, verified=verified))


def _require_fp32(artifact: Artifact, wanted: str) -> None:
    if artifact.kind != "onnx" or artifact.precision != "fp32":
        what = artifact.precision if artifact.kind == "onnx" else artifact.kind
        raise UsageError(
            f"{artifact.path} is no FP32 graph but {what}; {wanted} is made from FP32",
            hints=(_EXPORT,),
        )


def _data(artifact: Artifact, images: ImageSet | None, options: QuantizeOptions) -> Data:
    if options.random_calibration:
        return Noise(count=options.samples, seed=options.seed, preprocess=artifact.preprocess)
    if images is None:
        raise UsageError(
            "there are no images to calibrate on",
            hints=("--calibration-data DIR", "--random-calibration, for speed without accuracy"),
        )
    return Pictures(
        images=sample(images, options.samples, seed=options.seed),
        preprocess=artifact.preprocess,
        strict=options.strict,
    )


def _float_graph(artifact: Artifact) -> ir.Model:
    model = graph_files.load(artifact.path)
    found = [node for node in model.graph if node.op_type in _QUANTIZERS]
    if found:
        raise UsageError(
            f"{artifact.path} is quantised already: it has {len(found)} nodes such as "
            f"{found[0].name or found[0].op_type}",
            hints=(_EXPORT,),
        )
    return model


def _quantize(
    model: ir.Model, table: CalibrationTable, options: QuantizeOptions
) -> dict[str, Scalar]:
    """Insert the pairs into ``model`` in place and return the settings to record."""
    padded = options.pad_channels
    if padded is None:
        padded, reason = pad_channels.pays_on(environment.instructions())
        _log.debug("pad-channels: %s", reason)
    if padded:
        passes.run(model, ("pad-channels",))
    if options.quantize_all:
        passes.run(model, (_INLINE,))  # a call of BlurPool2d has no convolution to quantise
    placement = place(
        model.graph,
        which=ALL_ROLES if options.quantize_all else DEFAULT_ROLES,
        exclude=options.exclude,
        dead=dead_tensors(table),
    )
    if not placement.layers:
        raise UsageError("no layer is left to quantise")
    insert(model, placement, {entry.tensor: entry.amax for entry in table.ranges})
    return _settings(options, table, placement, padded=padded)


def _settings(
    options: QuantizeOptions, table: CalibrationTable, placement: Placement, *, padded: bool
) -> dict[str, Scalar]:
    return {
        "method": options.method,
        "calibration_images": table.images,
        "calibration_sha256": table.dataset_sha256,
        "seed": options.seed,
        "exclude": " ".join(options.exclude),
        "quantize_all": options.quantize_all,
        "random_calibration": options.random_calibration,
        "int8_layers": len(placement.layers),
        "int8_activations": len(placement.activations),
        **({"pad_channels": True} if padded else {}),
    }


def _child(
    artifact: Artifact,
    path: Path,
    *,
    step: str,
    precision: Precision,
    settings: Mapping[str, Scalar],
) -> Artifact:
    return dataclasses.replace(
        artifact,
        path=path,
        step=step,
        precision=precision,
        parents=(FileDigest(name=artifact.path.name, sha256=artifact.sha256), *artifact.parents),
        settings={**artifact.settings, **settings},
    )


def _runtime_session(model: ir.Model, extra_outputs: Sequence[str]) -> Session:
    session: Session = BACKENDS.load(_RUNTIME).session_of(model, extra_outputs=extra_outputs)
    return session


def _half_session(artifact: Artifact, model: ir.Model) -> Session | None:
    """Return a session of the saved half graph; None for bf16 where nothing runs it."""
    if artifact.precision == "fp16":
        return _runtime_session(model, ())
    try:
        session: Session = BACKENDS.load(_BF16_RUNTIME).load(artifact)
    except UnavailableError:
        return None
    return session
