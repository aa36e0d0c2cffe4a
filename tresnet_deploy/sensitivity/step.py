"""The whole step: from an FP32 graph and images to a written report, or one that is there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tresnet_deploy import __version__
from tresnet_deploy.artifacts import from_json, locked, to_json, write_whole
from tresnet_deploy.calibration import warn
from tresnet_deploy.contracts import Artifact, Progress, no_progress
from tresnet_deploy.errors import ArtifactError
from tresnet_deploy.images import ImageSet, dataset_digest
from tresnet_deploy.int8_results import Basis, By, SensitivityReport
from tresnet_deploy.quantize import QuantizeOptions
from tresnet_deploy.sensitivity.forms import Forms, prepare, require_units
from tresnet_deploy.sensitivity.measuring import measure

REPORT: Final = "sensitivity.json"
PAGE: Final = "sensitivity.html"

_log = logging.getLogger(__name__)


def sensitivity(
    artifact: Artifact,
    folder: Path,
    *,
    calibration: ImageSet | None,
    images: ImageSet,
    options: QuantizeOptions,
    by: By = "block",
    names: Sequence[str] = (),
    progress: Progress = no_progress,
) -> SensitivityReport:
    """Return what INT8 costs in each block or layer of the FP32 ONNX ``artifact``.

    ``calibration`` are images to calibrate on, None for noise; ``images`` are others, to judge on;
    ``names`` are the units wanted, all where there are none. The report is written to
    ``folder``/sensitivity.json; one of the same graph, images and options is taken as it is.

    Raises:
        UsageError: the graph is not FP32, or a name is not one of a unit.
        UnavailableError: the folder cannot be written, or another run writes there.
        DeployError: as calibration and running raise; an older report stays as it was.
    """
    require_units(artifact, options, by=by, names=names)
    with locked(folder):
        forms = prepare(artifact, folder, images=calibration, options=options, progress=progress)
        warn(forms.table)
        return measured(forms, folder, images, by=by, names=names, progress=progress)


def measured(
    forms: Forms,
    folder: Path,
    images: ImageSet,
    *,
    by: By,
    names: Sequence[str] = (),
    progress: Progress = no_progress,
) -> SensitivityReport:
    """Return the report of ``forms``: the one of ``folder`` where it fits, else a new one."""
    basis = _basis(forms, images, by, names)
    earlier = _known(folder / REPORT)
    if earlier is not None and earlier.basis == basis:
        _log.info("taking %s, measured on this graph by the same settings", folder / REPORT)
        return earlier
    report = measure(forms, images, basis, names=names, progress=progress)
    write_whole(folder / REPORT, to_json(report))
    return report


def known(folder: Path, graph: Artifact) -> SensitivityReport | None:
    """Return the report in ``folder`` that was measured on ``graph``, None where there is none."""
    report = _known(folder / REPORT)
    return report if report and report.basis.graph_sha256 == graph.sha256 else None


def _known(path: Path) -> SensitivityReport | None:
    """Return the report at ``path``; None where there is none that can be read."""
    try:
        return from_json(path.read_bytes(), SensitivityReport, name=str(path))
    except (ArtifactError, OSError):
        return None


def _basis(forms: Forms, images: ImageSet, by: By, names: Sequence[str]) -> Basis:
    options = forms.options
    return Basis(
        graph_sha256=forms.artifact.sha256,
        calibration_sha256=forms.table.dataset_sha256,
        images_sha256=dataset_digest(images),
        method=options.method,
        settings=repr((options, tuple(names))),
        by=by,
        tool_version=__version__,
    )
