"""Measure a model's accuracy on labelled images."""

from __future__ import annotations

from pathlib import Path

import click

from tresnet_deploy.cli._models import described, model_at
from tresnet_deploy.cli._options import (
    emit,
    output_folder,
    output_format,
    progress_bar,
    say,
    seed_option,
    talkative,
    warn,
)


@click.command("evaluate")
@click.argument("model", metavar="[MODEL]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with a sub-folder for each class, with labels.csv: FILE,CLASS[,CLASS...], or "
    "with COCO's instances_*.json.",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    help="Take N of them, all classes alike.  [default: all]",
)
@click.option("--batch", type=click.IntRange(min=1), help="Images run together.")
@seed_option("Of the sample.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Probability from which a label counts, of several.  [default: 0.5]",
)
@click.option("--strict/--no-strict", default=False, help="Stop at an unreadable image.")
@output_folder
@output_format
@talkative
def command(
    *,
    model: Path | None,
    images: Path | None,
    samples: int | None,
    batch: int | None,
    seed: int,
    threshold: float | None,
    strict: bool,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Measure the accuracy of MODEL, an engine or ONNX file (default: the newest engine).

    Top-1 and top-5 where an image shows one class; mAP, CF1 and OF1 where it may show several; all
    with 95 % intervals, and class by class. Images are streamed, and PyTorch is not needed.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._evaluation_text import text
    from tresnet_deploy.evaluate import evaluate
    from tresnet_deploy.images import default_images, sample
    from tresnet_deploy.metrics import F1_THRESHOLD
    from tresnet_deploy.scoring import opened

    artifact = model_at(model, folder)
    chosen = default_images(artifact, "evaluate", images)
    if samples is not None:
        chosen = sample(chosen, samples, seed=seed)
    say(f"evaluating {described(artifact)} on {len(chosen)} images")
    with opened(artifact) as session, progress_bar(quiet=quiet) as progress:
        report = evaluate(
            session,
            artifact,
            chosen,
            batch=batch,
            threshold=F1_THRESHOLD if threshold is None else threshold,
            seed=seed,
            strict=strict,
            progress=progress,
        )
    emit(to_json(report) if output_format == "json" else text(report))
    for note in (*report.notes, *(f"left out: {reason}" for reason in report.skipped)):
        warn(note)
