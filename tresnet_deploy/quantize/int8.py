"""FP32 to INT8: from an ONNX artefact and images to one with Q/DQ pairs."""

from __future__ import annotations

import dataclasses
import functools
import logging
from pathlib import Path
from typing import Final

import onnx_ir as ir

from tresnet_deploy import artifacts, environment, graph_files, passes
from tresnet_deploy.calibration import Data, Noise, Pictures, dead_tensors, table_for
from tresnet_deploy.contracts import (
    Artifact,
    CalibrationTable,
    Progress,
    Scalar,
    no_progress,
)
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, sample
from tresnet_deploy.passes import pad_channels
from tresnet_deploy.precision import checking
from tresnet_deploy.precision.pairs import insert
from tresnet_deploy.precision.placement import (
    ALL_ROLES,
    DEFAULT_ROLES,
    Placement,
    observed,
    place,
)
from tresnet_deploy.quantize.graphs import (
    OpenSession,
    child,
    float_graph,
    require_fp32,
    runtime_session,
)
from tresnet_deploy.quantize.options import QuantizeOptions

_INLINE: Final = "inline-operators"

_log = logging.getLogger(__name__)


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
    require_fp32(artifact, "INT8")
    data = _data(artifact, images, options)
    opened = open_session or runtime_session
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        model = float_graph(artifact)
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
        done = child(artifact, staging.path, step="quantize", precision="int8", settings=settings)
        graph_files.embed(quantized, done)
        graph_files.save(quantized, staging.path)
        found = checking.compare(opened(model, ()), opened(quantized, ()), data, artifact.batch)
        return staging.finish(dataclasses.replace(done, verified=str(found)))


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
