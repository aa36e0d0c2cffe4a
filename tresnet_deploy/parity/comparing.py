"""Every stage against eager FP32 PyTorch with the original weights, on the same images."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from tresnet_deploy.artifacts import locked
from tresnet_deploy.contracts import Array, Artifact, Feeds, Preprocess, Progress, no_progress
from tresnet_deploy.disk import disk_error
from tresnet_deploy.errors import RunError, UsageError
from tresnet_deploy.images import ImageFile, ImageSet, batches
from tresnet_deploy.metrics import F1_THRESHOLD
from tresnet_deploy.parity.gates import Overrides
from tresnet_deploy.parity.runs import IMAGES, Stage, run_all
from tresnet_deploy.parity.verdicts import Ground, judge_stages, notes
from tresnet_deploy.results import ParityReport

REFERENCE: Final = "eager FP32 PyTorch with the original weights"


# Eager PyTorch sets the memory, a few hundred megabytes for this many pixels, and pays for each
# batch with a barrier at each layer: small images go together in larger numbers.
_PIXELS: Final = 8 * 224 * 224
_MOST: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to compare: batch size, gates, the threshold of CF1 and OF1, the bootstrap's seed.

    ``batch`` None runs as many images together as have the pixels of eight at 224 px.
    """

    batch: int | None = None
    overrides: Overrides = field(default_factory=Overrides)
    threshold: float = F1_THRESHOLD
    seed: int = 0


@dataclass(slots=True)
class _Seen:
    files: list[ImageFile] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def compare(
    reference: Stage,
    stages: tuple[Stage, ...],
    images: ImageSet,
    model: Artifact,
    *,
    folder: Path,
    settings: Settings | None = None,
    progress: Progress = no_progress,
) -> ParityReport:
    """Return the report of all ``stages``; Polygraphy's files replace those in ``folder``.

    Each stage is compared with the reference, not with the one before. All take images and answer
    as ``model`` says, one of the files compared. Labels are used where ``images`` have them. Only
    scores are kept in memory: 4 bytes for each image, class and stage.

    Raises:
        ImageError: no image is readable.
        RunError: a stage fails, or the reference itself answers NaN or Inf.
        UnavailableError: ``folder`` cannot be written, or another run writes there.
    """
    settings = settings or Settings()
    _check_names((reference, *stages))
    seen = _Seen()
    with _replacing(folder) as partial:
        size = settings.batch or batch_of(model.preprocess)
        feeds = _feeds(images, model.preprocess, size, seen, progress)
        first, *others = run_all((reference, *stages), feeds, partial)
        _refuse_broken(first)
        ground = _ground(first, seen.files, images, model, settings)
        listed = "".join(f"{name}\n" for name in ground.names)
        (partial / "images.txt").write_text(listed, "utf-8")
    accuracy = ground.accuracy()
    judged = judge_stages(stages, others, ground, accuracy)
    return ParityReport(
        reference=REFERENCE,
        architecture=model.architecture,
        images=len(ground.names),
        image_source=images.source,
        stages=judged,
        verdict="pass" if all(stage.passed for stage in judged) else "fail",
        reference_accuracy=accuracy,
        skipped=tuple(seen.skipped),
        notes=(*images.notes, *notes(ground, judged)),
    )


def batch_of(preprocess: Preprocess) -> int:
    """Return how many images to run together: about the same number of pixels at every size."""
    pixels = preprocess.height_px * preprocess.width_px
    return min(max(1, _PIXELS // pixels), _MOST)


def _ground(
    scores: Array, files: list[ImageFile], images: ImageSet, model: Artifact, settings: Settings
) -> Ground:
    return Ground(
        scores=scores,
        names=tuple(images.name_of(file) for file in files),
        truth=tuple(file.labels for file in files),
        labels=model.labels,
        class_names=images.class_names or model.labels.names,
        overrides=settings.overrides,
        threshold=settings.threshold,
        seed=settings.seed,
    )


def _check_names(stages: tuple[Stage, ...]) -> None:
    names = [stage.name for stage in stages]
    if len(stages) == 1 or len(set(names)) < len(names):
        raise UsageError(f"comparing takes a reference and stages of other names, not {names}")


def _feeds(
    images: ImageSet, preprocess: Preprocess, size: int, seen: _Seen, progress: Progress
) -> Iterator[Feeds]:
    """Give batches, noting which images they hold and which could not be read."""
    for batch in batches(images, preprocess, size, progress=progress):
        seen.files.extend(batch.files)
        seen.skipped.extend(f"{images.name_of(s.file)} {s.reason}" for s in batch.skipped)
        yield {IMAGES: batch.array}


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """Give an empty hidden folder that takes the place of ``folder`` when all went well."""
    partial = folder.with_name(f".{folder.name}.partial")
    with locked(folder.parent):
        try:
            shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
            partial.mkdir()
            yield partial
            shutil.rmtree(folder, ignore_errors=True)
            partial.replace(folder)
        except OSError as error:
            raise disk_error(error, folder.parent) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _refuse_broken(reference: Array) -> None:
    broken = int((~np.isfinite(reference).all(axis=1)).sum())
    if broken:
        raise RunError(
            f"the reference itself, {REFERENCE}, answers {broken} of {len(reference)} "
            "images with NaN or Inf, so there is nothing to compare with",
            hints=("check the weights: tresnet-deploy inspect CHECKPOINT",),
        )
