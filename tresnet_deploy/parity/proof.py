"""The whole step: from engine files to a written report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from tresnet_deploy.artifacts import to_json, write_whole
from tresnet_deploy.contracts import Artifact, Progress, no_progress
from tresnet_deploy.images import ImageSet
from tresnet_deploy.parity.comparing import Settings, compare
from tresnet_deploy.parity.lineage import opened
from tresnet_deploy.results import ParityReport

REPORT: Final = "parity.json"
DETAILS: Final = "parity"


def prove(
    engines: tuple[Artifact, ...],
    images: ImageSet,
    *,
    folder: Path,
    settings: Settings | None = None,
    progress: Progress = no_progress,
    quiet: bool = False,
) -> ParityReport:
    """Compare ``engines`` and all files on the way to them with eager FP32 on ``images``.

    The report is written to ``folder``/parity.json whatever its verdict, and what Polygraphy reads
    to ``folder``/parity.

    Raises:
        DeployError: as :func:`tresnet_deploy.parity.lineage.opened` and
            :func:`tresnet_deploy.parity.compare` raise; an older report stays as it was.
    """
    with opened(engines, quiet=quiet) as lineage:
        report = compare(
            lineage.reference,
            lineage.stages,
            images,
            engines[0],
            folder=folder / DETAILS,
            settings=settings,
            progress=progress,
        )
    report = replace(report, notes=(*report.notes, *lineage.notes))
    write_whole(folder / REPORT, to_json(report))
    return report
