"""Classify images with an engine, by name."""

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
    talkative,
    warn,
)

_SAMPLES = 5  # of the images in the package, when no image is named


@click.command("predict")
@click.argument("images", metavar="[IMAGE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--engine",
    type=click.Path(path_type=Path),
    help="Engine or ONNX file.  [default: the newest engine of the folder]",
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    help="Classes to name for each image.  [default: 5; of several labels all that count]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Least probability of a class.  [default: 0; 0.7 where an image may show several]",
)
@click.option("--strict/--no-strict", default=False, help="Stop at an unreadable image.")
@output_folder
@output_format
@talkative
def command(
    *,
    images: tuple[Path, ...],
    engine: Path | None,
    top: int | None,
    threshold: float | None,
    strict: bool,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Say what each IMAGE shows; IMAGE may be a folder. PyTorch is not needed.

    Without IMAGE, some of the images in the package are classified. An unreadable image is named
    and left out; the command fails when none could be read, or with --strict at the first.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._prediction_text import text
    from tresnet_deploy.images import default_images, of_files, sample
    from tresnet_deploy.predict import predict
    from tresnet_deploy.scoring import opened

    artifact = model_at(engine, folder)
    chosen = (
        of_files(images)
        if images
        else sample(default_images(artifact, "predict", None), _SAMPLES, seed=0)
    )
    say(f"classifying with {described(artifact)}")
    with opened(artifact) as session, progress_bar(quiet=quiet) as progress:
        report = predict(
            session,
            artifact,
            chosen,
            top=top,
            threshold=threshold,
            strict=strict,
            progress=progress,
        )
    emit(to_json(report) if output_format == "json" else text(report))
    for note in (*chosen.notes, *(f"left out: {reason}" for reason in report.skipped)):
        warn(note)
