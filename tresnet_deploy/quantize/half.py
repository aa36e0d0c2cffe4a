"""FP32 to FP16 or bf16: from an ONNX artefact to one whose layers are typed."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Final, Literal

import onnx_ir as ir

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.calibration import Pictures
from tresnet_deploy.contracts import Artifact, Scalar, Session
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.images import ImageSet, sample, sample_photos
from tresnet_deploy.precision import checking, islands, ranges
from tresnet_deploy.precision.half import to_half
from tresnet_deploy.quantize.graphs import child, float_graph, require_fp32, runtime_session
from tresnet_deploy.registry import BACKENDS

Half = Literal["fp16", "bf16"]

_BF16_RUNTIME: Final = "openvino"  # ONNX Runtime's CPU provider has no bf16 convolution
_HALVES: Final = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}
_MEASURED: Final = 32  # images; what more would add lies well within the margin of ``islands``

_log = logging.getLogger(__name__)


def convert(
    artifact: Artifact,
    target: Path,
    *,
    precision: Half,
    images: ImageSet | None = None,
    strict: bool = False,
    overwrite: bool = False,
) -> Artifact:
    """Write the FP32 ONNX ``artifact`` typed in half ``precision`` to ``target`` and return it.

    Inputs and outputs stay FP32. On ``images`` (None: sample photographs) the ranges of activations
    are measured and the result is checked. What would come near the end of FP16 there stays FP32;
    the settings and a warning say what and why. A bf16 graph is run by OpenVINO; where that is
    missing only its types are checked.

    Raises:
        UsageError: the graph is not FP32, or ``target`` exists.
        ImageError: no image is readable, or one is not and ``strict`` is True.
        UnavailableError: ONNX Runtime is missing, or the folder cannot be written.
        QuantizeError: the outputs are NaN or infinite.
    """
    require_fp32(artifact, precision.upper())
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        model = float_graph(artifact)
        data = Pictures(
            images=sample(images or sample_photos(), _MEASURED, seed=0),
            preprocess=artifact.preprocess,
            strict=strict,
        )
        half = model.clone()
        settings = _type_layers(half, precision, artifact, data)
        done = child(artifact, staging.path, step="convert", precision=precision, settings=settings)
        graph_files.embed(half, done)
        graph_files.save(half, staging.path)
        candidate = _half_session(done, half)
        if candidate is None:
            verified = "types checked; not run, as no runtime here computes bf16"
        else:
            reference = runtime_session(model, ())
            verified = str(checking.compare(reference, candidate, data, done))
        return staging.finish(dataclasses.replace(done, verified=verified))


def _type_layers(
    model: ir.Model, precision: Half, artifact: Artifact, data: Pictures
) -> dict[str, Scalar]:
    """Type ``model`` in place and return the settings to record."""
    kept: dict[str, Scalar] = {}
    if precision == "fp16":
        islands.mark(model.graph, ranges.largest(model, runtime_session, data, artifact.batch))
        wide = islands.wide_nodes(model.graph)
        if wide:
            why = islands.summary(wide)
            kept = {"fp32_nodes": len(wide), "fp32_because": why}
            _log.warning("%d nodes stay FP32: %s", len(wide), why)
    layers = to_half(model, _HALVES[precision])
    return {"half_layers": layers, "opset": model.opset_imports[""], **kept}


def _half_session(artifact: Artifact, model: ir.Model) -> Session | None:
    """Return a session of the saved half graph; None for bf16 where nothing runs it."""
    if artifact.precision == "fp16":
        return runtime_session(model, ())
    try:
        session: Session = BACKENDS.load(_BF16_RUNTIME).load(artifact)
    except UnavailableError:
        return None
    return session
