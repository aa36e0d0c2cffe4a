"""FP32 to FP16 or bf16: from an ONNX artefact to one whose layers are typed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Final, Literal

import onnx_ir as ir

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.calibration import Pictures
from tresnet_deploy.contracts import Artifact, Scalar, Session
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.images import ImageSet, sample_photos
from tresnet_deploy.precision import checking
from tresnet_deploy.precision.half import to_half
from tresnet_deploy.quantize.graphs import child, float_graph, require_fp32, runtime_session
from tresnet_deploy.registry import BACKENDS

Half = Literal["fp16", "bf16"]

_BF16_RUNTIME: Final = "openvino"  # ONNX Runtime's CPU provider has no bf16 convolution
_HALVES: Final = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}


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
    require_fp32(artifact, precision.upper())
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        model = float_graph(artifact)
        half = model.clone()
        layers = to_half(half, _HALVES[precision])
        settings: dict[str, Scalar] = {"half_layers": layers, "opset": half.opset_imports[""]}
        done = child(artifact, staging.path, step="convert", precision=precision, settings=settings)
        graph_files.embed(half, done)
        graph_files.save(half, staging.path)
        data = Pictures(images=images or sample_photos(), preprocess=artifact.preprocess)
        candidate = _half_session(done, half)
        if candidate is None:
            verified = "types checked; not run, as no runtime here computes bf16"
        else:
            reference = runtime_session(model, ())
            verified = str(checking.compare(reference, candidate, data, artifact.batch))
        return staging.finish(dataclasses.replace(done, verified=verified))


def _half_session(artifact: Artifact, model: ir.Model) -> Session | None:
    """Return a session of the saved half graph; None for bf16 where nothing runs it."""
    if artifact.precision == "fp16":
        return runtime_session(model, ())
    try:
        session: Session = BACKENDS.load(_BF16_RUNTIME).load(artifact)
    except UnavailableError:
        return None
    return session
