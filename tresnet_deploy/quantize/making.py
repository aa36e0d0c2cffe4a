"""From a recipe to an INT8 graph in memory.

float graph --equalize--> --calibrate--> ranges --pad, place, insert--> --round weights anew-->
            --correct biases--> INT8
"""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx_ir as ir

from tresnet_deploy import environment, passes
from tresnet_deploy.calibration import Data, dead_tensors, reaches, tables_for
from tresnet_deploy.contracts import (
    Artifact,
    CalibrationTable,
    Progress,
    Scalar,
    no_progress,
)
from tresnet_deploy.errors import UsageError
from tresnet_deploy.passes import equalize, pad_channels
from tresnet_deploy.precision import bias_correction, islands
from tresnet_deploy.precision.grids import Grid
from tresnet_deploy.precision.pairs import insert
from tresnet_deploy.precision.placement import observed, place
from tresnet_deploy.quantize.graphs import OpenSession
from tresnet_deploy.quantize.options import PADDED, SKIPPED, QuantizeOptions, Recipe
from tresnet_deploy.quantize.weight_rounding import Reconstruction, reconstruct

_INLINE: Final = "inline-operators"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An FP32 graph to quantise, the images to calibrate on, and where tables are kept."""

    artifact: Artifact
    model: ir.Model
    data: Data
    options: QuantizeOptions
    grid: Grid
    folder: Path
    open_session: OpenSession
    progress: Progress = no_progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The float graph that ranges are found of: as it came, or equalised."""

    model: ir.Model
    graph_sha256: str
    equalized: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """An INT8 graph, and what its artefact has to say about it."""

    model: ir.Model
    recipe: Recipe
    table: CalibrationTable
    settings: Mapping[str, Scalar]


def prepared(job: Job, *, equalized: bool) -> Prepared:
    """Return the float graph of ``job``, equalised by what its channels reach on the images."""
    if not equalized:
        return Prepared(model=job.model, graph_sha256=job.artifact.sha256, equalized=0)
    model = job.model.clone()
    reach = reaches(
        functools.partial(job.open_session, job.model),
        equalize.watched(model),
        job.data,
        batch=job.artifact.batch,
        progress=job.progress,
    )
    outcome = equalize.equalize(model, reach)
    for refusal in outcome.left:
        _log.debug("equalize leaves %s: %s", refusal.match, refusal.reason)
    # The graph follows from the one it was made of and the images, which the table's key has too.
    sha256 = hashlib.sha256(f"equalized {job.artifact.sha256}".encode()).hexdigest()
    return Prepared(model=model, graph_sha256=sha256, equalized=outcome.changed)


def tables(job: Job, graph: Prepared, methods: Sequence[str]) -> tuple[CalibrationTable, ...]:
    """Return the ranges of ``graph`` by each of ``methods``, cached ones where there are any."""
    return tables_for(
        job.folder,
        functools.partial(job.open_session, graph.model),
        observed(graph.model.graph),
        job.data,
        graph_sha256=graph.graph_sha256,
        methods=methods,
        batch=job.artifact.batch,
        progress=job.progress,
    )


def require_layers(graph: ir.Graph, options: QuantizeOptions) -> None:
    """Refuse a wrong ``--exclude``, or one that leaves nothing to quantise, before any work."""
    if not place(graph, which=options.roles, exclude=options.exclude).layers:
        raise nothing_left(options)


def nothing_left(options: QuantizeOptions) -> UsageError:
    """Return the error for a graph in which all layers stay float."""
    excluded = " ".join(f"--exclude {each!r}" for each in options.exclude)
    if not excluded:
        return UsageError("no layer is left to quantise: none has a range on these images")
    return UsageError(
        f"no layer is left to quantise with {excluded}", hints=("an expression that matches less",)
    )


def make(job: Job, graph: Prepared, table: CalibrationTable, recipe: Recipe) -> Made:
    """Return ``graph`` in INT8.

    Raises:
        UsageError: no layer is left to quantise.
        QuantizeError: an output is not finite.
    """
    options = job.options
    reference = graph.model.clone()
    padded = _pad(reference, options)
    if options.quantize_all:
        passes.run(reference, (_INLINE,))  # a call of BlurPool2d has no convolution to quantise
    quantized = reference.clone()
    placement = place(
        quantized.graph,
        which=options.roles,
        exclude=options.exclude,
        dead=dead_tensors(table),
    )
    if not placement.layers:
        raise nothing_left(options)
    # For whoever types the float remainder later: what FP16 could not hold.
    seen = {entry.tensor: max(-entry.observed_min, entry.observed_max) for entry in table.ranges}
    islands.mark(quantized.graph, seen)
    amax = {entry.tensor: entry.amax for entry in table.ranges}
    insert(quantized, placement, amax, grid=job.grid, weights=recipe.weights)
    settings = _settings(options, recipe, table) | _improve(job, reference, quantized, recipe)
    settings[f"{job.grid.name}_layers"] = len(placement.layers)
    settings[f"{job.grid.name}_activations"] = len(placement.activations)
    settings[PADDED] = padded
    if padded:
        settings["pad_channels"] = True
    return Made(model=quantized, recipe=recipe, table=table, settings=settings)


def _improve(
    job: Job, reference: ir.Model, quantized: ir.Model, recipe: Recipe
) -> dict[str, Scalar]:
    """Do to the constants of ``quantized`` what ``recipe`` asks for; return what there is to tell.

    Biases come last, to take what mean error the rounding has left.
    """
    told: dict[str, Scalar] = {}
    if recipe.weight_rounding == "gptq":
        told["weight_error_remaining"] = round(_rounded(job, reference, quantized).remaining, 3)
    if recipe.bias_correction:
        bias_correction.correct(
            reference,
            quantized,
            job.open_session,
            job.data,
            batch=job.artifact.batch,
            progress=job.progress,
        )
    return told


def _rounded(job: Job, reference: ir.Model, quantized: ir.Model) -> Reconstruction:
    """Round the weights of ``quantized`` by GPTQ, and tell of each layer what it gained."""
    found = reconstruct(
        reference,
        quantized,
        job.open_session,
        job.data,
        grid=job.grid,
        seed=job.options.seed,
        batch=job.artifact.batch,
        progress=job.progress,
    )
    for each in found.layers:
        _log.debug(
            "gptq %s: error %.2e of the output, %.2e by rounding to the nearest",
            each.layer,
            each.after,
            each.before,
        )
    for refusal in found.left:
        _log.debug("gptq leaves %s: %s", refusal.match, refusal.reason)
    return found


def _pad(model: ir.Model, options: QuantizeOptions) -> bool:
    padded = options.pad_channels
    if padded is None:
        padded, reason = pad_channels.pays_on(environment.instructions())
        _log.debug("pad-channels: %s", reason)
    if padded:
        passes.run(model, ("pad-channels",))
    return padded


def _settings(
    options: QuantizeOptions, recipe: Recipe, table: CalibrationTable
) -> dict[str, Scalar]:
    return {
        "method": recipe.method,
        "equalize": recipe.equalize,
        "bias_correction": recipe.bias_correction,
        "weights": recipe.weights,
        "weight_rounding": recipe.weight_rounding,
        "chosen_by": options.method if options.method != recipe.method else "request",
        "calibration_images": table.images,
        "calibration_sha256": table.dataset_sha256,
        SKIPPED: len(table.skipped),
        "seed": options.seed,
        "exclude": " ".join(options.exclude),
        "quantize_all": options.quantize_all,
        "random_calibration": options.random_calibration,
    }
