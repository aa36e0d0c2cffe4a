"""The whole step: from engine files to a written report."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Final

from tresnet_deploy.artifacts import to_json, write_whole
from tresnet_deploy.contracts import Artifact, Progress, no_progress
from tresnet_deploy.images import ImageSet
from tresnet_deploy.parity.blame import IMAGES as BLAMED
from tresnet_deploy.parity.blame import Blame
from tresnet_deploy.parity.blame import blame as blame_blocks
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
    blame: bool = False,
    progress: Progress = no_progress,
    quiet: bool = False,
) -> ParityReport:
    """Compare ``engines`` and all files on the way to them with eager FP32 on ``images``.

    The report is written to ``folder``/parity.json whatever its verdict, and what Polygraphy reads
    to ``folder``/parity. ``blame`` also compares the output of each block, on a few of the images.

    Raises:
        DeployError: as :func:`tresnet_deploy.parity.lineage.opened` and
            :func:`tresnet_deploy.parity.compare` raise; an older report stays as it was.
    """
    with opened(engines, quiet=quiet) as lineage:
        few = replace(images, files=images.files[:BLAMED])
        # First, as it is the shorter one: what stops it is said before minutes of comparing.
        found = (
            blame_blocks(lineage.files, few, progress=progress, quiet=quiet) if blame else Blame()
        )
        report = compare(
            lineage.reference,
            lineage.stages,
            images,
            engines[0],
            folder=folder / DETAILS,
            settings=settings,
            progress=progress,
        )
    report = replace(
        report,
        stages=tuple(
            replace(stage, blocks=found.blocks.get(stage.file, ())) for stage in report.stages
        ),
        notes=(*report.notes, *lineage.notes, *found.notes),
        block_images=found.images,
    )
    write_whole(folder / REPORT, to_json(report))
    return report
