"""Compare an engine, and each file on the way to it, with eager FP32 PyTorch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
from tresnet_deploy.hints import output_suffix

if TYPE_CHECKING:
    from tresnet_deploy.results import ParityReport

_SAMPLES = 500  # drops of two points show from here on, and TResNet-L takes minutes, not hours
SHARE = click.FloatRange(0, 1)


_GATES = """\b
Default gates
        cosine   same top-1  drop in top-1 or mAP
  fp32  0.99999  100 %       0.01 % of the reference's; scores off by 0.1 % of their spread
  fp16  0.9995   99.5 %      0.1 % of the reference's
  bf16  0.995    99.5 %      0.1 % of the reference's
  int8  0.95     99 %        1 % of the reference's
  fp8   0.95     99 %        1 % of the reference's
"""


@click.command("compare", epilog=_GATES)
@click.argument("engines", metavar="[ENGINE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of images; class folders, a labels.csv or COCO's annotations also give accuracy. "
    "[default: images in the package]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=_SAMPLES,
    show_default=True,
    help="Compare on at most N of them, all classes alike.",
)
@click.option("--batch", type=click.IntRange(min=1), help="Images run together.")
@seed_option("Of the sample.")
@click.option("--min-agreement", type=SHARE, help="Least share of images with the same top-1.")
@click.option("--min-cosine", type=SHARE, help="Least cosine of any image.")
@click.option("--max-drop", type=SHARE, help="Largest drop in top-1 or mAP; 0.01 is a point.")
@click.option(
    "--max-error",
    type=click.FloatRange(min=0),
    help="Largest error of any score, as a share of the scores' spread.",
)
@click.option(
    "--threshold",
    type=SHARE,
    help="Probability from which CF1 and OF1 count a label.  [default: 0.5]",
)
@click.option("--blame/--no-blame", default=False, help="Also show in which block accuracy goes.")
@output_folder
@output_format
@talkative
def command(
    *,
    engines: tuple[Path, ...],
    images: Path | None,
    samples: int,
    batch: int | None,
    seed: int,
    min_agreement: float | None,
    min_cosine: float | None,
    max_drop: float | None,
    max_error: float | None,
    threshold: float | None,
    blame: bool,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Compare ENGINE (default: the newest of the folder) with eager FP32 PyTorch.

    The original weights are the reference. The network's deploy form, the ONNX files that ENGINE
    was made from and ENGINE itself each run on the same images, so the table shows where accuracy
    went. ENGINE may be an ONNX file, and there may be several.

    Ends with 1 when a gate fails. Default gates fail on evidence, not by chance: flips beyond the
    number that chance allows, a drop whose 95 % interval lies above the bound. Only images that the
    reference decides clearly are held to the same top-1. Bounds given as options are taken
    literally, for stages of the engine's precision.

    Writes parity.json, and in parity/ what Polygraphy reads, beside the engine.
    """
    from tresnet_deploy import parity
    from tresnet_deploy.images import default_images, sample
    from tresnet_deploy.metrics import F1_THRESHOLD

    models = tuple(model_at(path, folder) for path in (engines or (None,)))
    chosen = sample(default_images(models[0], "compare", images), samples, seed=seed)
    settings = parity.Settings(
        batch=batch,
        overrides=parity.Overrides(
            min_cosine=min_cosine,
            min_agreement=min_agreement,
            max_drop=max_drop,
            max_error=max_error,
            precisions=tuple(model.precision for model in models),
        ),
        threshold=F1_THRESHOLD if threshold is None else threshold,
        seed=seed,
    )
    what = described(models[0]) if len(models) == 1 else f"{len(models)} engines"
    say(f"comparing {what} on {len(chosen)} images")
    with progress_bar(quiet=quiet) as progress:
        report = parity.prove(
            models,
            chosen,
            folder=models[0].path.parent,
            settings=settings,
            blame=blame,
            progress=progress,
            quiet=quiet,
        )
    _show(report, models[0].path.parent, output_format)


def _show(report: ParityReport, folder: Path, output_format: str) -> None:
    """Print the report and where it lies, then what comes next; a failed one is an error."""
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._parity_text import failure, text
    from tresnet_deploy.parity import DETAILS, REPORT

    emit(to_json(report) if output_format == "json" else text(report))
    for note in (*report.notes, *(f"left out: {reason}" for reason in report.skipped)):
        warn(note)
    say(f"saved: {folder / REPORT}, and for Polygraphy {folder / DETAILS}/")
    where = output_suffix(folder)
    if report.verdict == "fail":
        raise failure(report, where=where)
    say(f"next: tresnet-deploy benchmark{where}")
