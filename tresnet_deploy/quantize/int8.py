"""FP32 to INT8 or FP8: from an ONNX artefact and images to one with Q/DQ pairs."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.calibration import Data, Noise, Pictures, doctor, warn
from tresnet_deploy.contracts import Artifact, Progress, Scalar, no_progress
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet
from tresnet_deploy.precision import checking
from tresnet_deploy.precision.grids import FP8, INT8, Grid
from tresnet_deploy.quantize import auto, input_check
from tresnet_deploy.quantize.drawing import Drawn, drawn
from tresnet_deploy.quantize.graphs import (
    OpenSession,
    child,
    float_graph,
    require_fp32,
    runtime_session,
)
from tresnet_deploy.quantize.making import Job, Made, make, prepared, require_layers, tables
from tresnet_deploy.quantize.options import QuantizeOptions
from tresnet_deploy.quantize.trials import Trials, beside

Coded = Literal["int8", "fp8"]

_GRIDS: Final[Mapping[Coded, Grid]] = {"int8": INT8, "fp8": FP8}

_log = logging.getLogger(__name__)


def quantize(
    artifact: Artifact,
    target: Path,
    *,
    images: ImageSet | None,
    options: QuantizeOptions,
    precision: Coded = "int8",
    overwrite: bool = False,
    open_session: OpenSession | None = None,
    progress: Progress = no_progress,
) -> Artifact:
    """Write the INT8 or FP8 form of the FP32 ONNX ``artifact`` to ``target`` and return it.

    ``images`` None is allowed with ``random_calibration`` only. The calibration table is kept in
    ``calibration/`` beside ``target`` and reused for the same graph, images, preprocessing, method
    and version. ``open_session`` None takes ONNX Runtime. What the user should know (few images,
    skipped ones, dead activations) is logged as warnings. With the method "auto" the recipes that
    were measured lie beside the file: see ``trials.beside``.

    Raises:
        UsageError: the graph is not FP32, an option contradicts it, or ``target`` exists.
        ImageError: no image is readable, or one is not and the options are strict.
        UnavailableError: ONNX Runtime is missing, or the folder cannot be written.
        QuantizeError: activations or outputs are NaN or infinite.
    """
    require_fp32(artifact, precision.upper())
    sets = None if options.random_calibration else drawn(_required(images), options)
    data = _data(artifact, sets, options)
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        model = float_graph(artifact)
        require_layers(model.graph, options)
        for note in images.notes if images and sets else ():
            _log.warning("%s", note)
        job = Job(
            artifact=artifact,
            model=model,
            data=data,
            options=options,
            grid=_GRIDS[precision],
            folder=target.parent,
            open_session=open_session or runtime_session,
            progress=progress,
        )
        for finding in input_check.findings(job):
            _log.warning("%s", finding)
        made, trials = _made(job, sets)
        warn(made.table)
        done = _saved(job, made, staging, precision)
        if trials is None:
            beside(target).unlink(missing_ok=True)  # of an earlier file of this name
        else:
            record = dataclasses.replace(trials, graph_sha256=done.sha256)
            artifacts.write_whole(beside(target), artifacts.to_json(record))
        return done


def require_quantisable(artifact: Artifact, options: QuantizeOptions) -> None:
    """Refuse what :func:`quantize` would refuse of a graph before it calibrates.

    Raises:
        UsageError: the graph is not FP32, or an option contradicts it.
    """
    require_fp32(artifact, "a calibrated graph")
    require_layers(float_graph(artifact).graph, options)


def _made(job: Job, sets: Drawn | None) -> tuple[Made, Trials | None]:
    if sets is not None and sets.held_out is not None:
        made, trials = auto.choose(job, sets.held_out)
        measured: dict[str, Scalar] = {
            "held_out_images": trials.images,
            "held_out_sha256": trials.images_sha256,
        }
        made = dataclasses.replace(made, settings={**made.settings, **measured})
        _log.info("of %d recipes the best is: %s", len(trials.trials), made.recipe)
        for finding in doctor.of_held_out(trials.images):
            _log.warning("%s", finding)
        return made, trials
    recipe = job.options.recipe()
    graph = prepared(job, equalized=recipe.equalize)
    (table,) = tables(job, graph, (recipe.method,))
    return make(job, graph, table, recipe), None


def _saved(job: Job, made: Made, staging: artifacts.Staging, precision: Coded) -> Artifact:
    """Write the graph, run it beside the float one, and publish both file and sidecar."""
    done = child(
        job.artifact, staging.path, step="quantize", precision=precision, settings=made.settings
    )
    graph_files.embed(made.model, done)
    graph_files.save(made.model, staging.path)
    found = checking.compare(
        job.open_session(job.model, ()),
        job.open_session(made.model, ()),
        job.data,
        done,
    )
    measured = {checking.SNR_SETTING: round(found.snr_db, 1)} if math.isfinite(found.snr_db) else {}
    settings = {**done.settings, **measured}
    return staging.finish(dataclasses.replace(done, verified=str(found), settings=settings))


def _required(images: ImageSet | None) -> ImageSet:
    if images is None:
        raise UsageError(
            "there are no images to calibrate on",
            hints=("--calibration-data DIR", "--random-calibration, for speed without accuracy"),
        )
    return images


def _data(artifact: Artifact, sets: Drawn | None, options: QuantizeOptions) -> Data:
    if sets is None:
        return Noise(count=options.samples, seed=options.seed, preprocess=artifact.preprocess)
    return Pictures(images=sets.calibration, preprocess=artifact.preprocess, strict=options.strict)
