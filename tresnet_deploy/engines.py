"""ONNX file to engine in one go: choose the backend, convert or calibrate the graph, build.

FP32 ONNX --choose--> Choice --converted--> ONNX in the graph's precision --build--> engine
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tresnet_deploy import build
from tresnet_deploy.contracts import (
    CALIBRATED,
    SCHEMA_VERSION,
    Artifact,
    Batch,
    Precision,
    Progress,
    Scalar,
    no_progress,
)
from tresnet_deploy.converting import converted, file_name, reusable
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, default_images
from tresnet_deploy.quantize import QuantizeOptions, require_quantisable

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who builds an engine and why, in which precision, from a graph in which precision.

    ``options`` are the backend's own. ``calibrates`` says that an INT8 graph is made on the way.
    """

    backend: str
    reason: str
    precision: Precision
    graph: Precision
    options: Any
    calibrates: bool


def choose(
    source: Artifact,
    *,
    precision: Precision | None = None,
    backend: str | None = None,
    options: Mapping[str, str] | None = None,
) -> Choice:
    """Return who builds an engine of ``source``; ``options`` are values as people type them.

    ``precision`` None is the one of ``source``, ``backend`` None the fastest one usable here.

    Raises:
        UsageError: the backend or an option is not known, or it makes no engines of ``precision``.
        UnavailableError: a runtime or device is missing.
    """
    wanted = precision or source.precision
    name, reason = (backend, "as asked") if backend else build.default_backend(wanted)
    module = build.backend_for(name, wanted)
    graph: Precision = module.GRAPHS[wanted]
    return Choice(
        backend=name,
        reason=reason,
        precision=wanted,
        graph=graph,
        options=build.options_from(module, wanted, options or {}),
        calibrates=graph in CALIBRATED and source.precision != graph,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildPlan:
    """What :func:`make` would do: from which graph, made anew or not, into which file.

    ``bound`` is what a search would keep with the fewest blocks in float; which graph that makes,
    and whether it is there already, shows only then.
    """

    backend: str
    reason: str
    precision: Precision
    graph: str
    graph_exists: bool
    calibrates: bool
    target: str
    batch: Batch
    options: Mapping[str, Scalar]
    bound: str | None = None
    schema_version: int = SCHEMA_VERSION


def plan(
    source: Artifact,
    folder: Path,
    choice: Choice,
    *,
    batch: Batch | None = None,
    calibration_data: Path | None = None,
    quantize: QuantizeOptions | None = None,
    bound: str | None = None,
    overwrite: bool = False,
) -> BuildPlan:
    """Return what :func:`make` would do with the same arguments; nothing is written.

    Raises:
        UsageError: as :func:`make` raises before anything is calibrated.
        ImageError: the images to calibrate on cannot be read.
    """
    target = _target(source, folder, choice, overwrite=overwrite)
    options = quantize or QuantizeOptions()
    there = None
    if bound is None:
        there = reusable(
            source,
            folder,
            precision=choice.graph,
            images=_images(source, choice, options, calibration_data),
            options=options,
            overwrite=overwrite,
        )
    if there is None and choice.calibrates:
        require_quantisable(source, options)
    chosen: dict[str, Scalar] = msgspec.to_builtins(choice.options)
    return BuildPlan(
        backend=choice.backend,
        reason=choice.reason,
        precision=choice.precision,
        graph=str(there.path if there else folder / file_name(source, choice.graph)),
        graph_exists=there is not None,
        calibrates=choice.calibrates,
        target=str(target),
        batch=build.batch_of(source, batch),
        options=chosen,
        bound=bound,
    )


def _images(
    source: Artifact, choice: Choice, options: QuantizeOptions, folder: Path | None
) -> ImageSet | None:
    """Return the images to calibrate on, None where nothing is calibrated on any."""
    if not choice.calibrates or options.random_calibration:
        return None
    return default_images(source, "calibrate", folder)


def _target(source: Artifact, folder: Path, choice: Choice, *, overwrite: bool) -> Path:
    """Return where the engine goes; refusing to replace one is said before minutes of work."""
    target = folder / build.file_name(source, choice.backend, choice.precision)
    if target.exists() and not overwrite:
        raise UsageError(f"{target} exists already", hints=("add --overwrite to replace it",))
    return target


def make(
    source: Artifact,
    folder: Path,
    choice: Choice,
    *,
    batch: Batch | None = None,
    calibration_data: Path | None = None,
    quantize: QuantizeOptions | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Artifact:
    """Return the engine of ``source`` that ``choice`` describes, built into ``folder``.

    A graph in another precision is made beside it, unless one made by the same settings is there.
    ``calibration_data`` None takes packaged images.

    Raises:
        UsageError: a file to be made is there already and ``overwrite`` is False.
        DeployError: as convert, quantize and build raise.
    """
    target = _target(source, folder, choice, overwrite=overwrite)
    options = quantize or QuantizeOptions()
    images = _images(source, choice, options, calibration_data)
    graph = converted(
        source,
        folder,
        precision=choice.graph,
        images=images,
        options=options,
        overwrite=overwrite,
        progress=progress,
    )
    if graph.reused and graph.artifact is not source:
        _log.info("taking %s, made of this graph by the same settings", graph.artifact.path)
    return build.build(
        graph.artifact,
        target,
        backend=choice.backend,
        precision=choice.precision,
        batch=batch,
        options=choice.options,
        images=images,
        overwrite=overwrite,
        progress=progress,
    )
