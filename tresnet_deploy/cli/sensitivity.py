"""Measure which blocks and layers lose accuracy in INT8, one at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from tresnet_deploy.cli._calibration_options import Calibration, calibration_options
from tresnet_deploy.cli._held_out_options import held_out_options, split
from tresnet_deploy.cli._models import described, float_graph_at
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

_SAMPLES = 64  # the order of blocks by SNR settles with dozens; a minute for M at 224 px
_HELD_OUT, _HELD_OUT_SAMPLES = held_out_options(_SAMPLES)


@click.command("sensitivity")
@click.argument("model", metavar="[ONNX]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--by",
    type=click.Choice(["block", "layer"]),
    default="block",
    show_default=True,
    help="What is kept float or INT8 at a time; layers take three times as long.",
)
@click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Measure this block or layer, or the layers of this block, such as layer1.0; may be "
    "repeated.",
)
@_HELD_OUT
@_HELD_OUT_SAMPLES
@calibration_options
@seed_option("Of both samples.")
@output_folder
@output_format
@talkative
def command(
    *,
    model: Path | None,
    by: Literal["block", "layer"],
    only: tuple[str, ...],
    held_out: Path | None,
    held_out_samples: int,
    calibration: Calibration,
    seed: int,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Measure what INT8 costs in each block or layer of ONNX (default: the newest FP32 graph).

    Each is judged twice against the float graph, on images that were not calibrated on: alone in
    INT8, and alone in float while all others are INT8. Only the part of the network behind it is
    run again. The calibration table in the folder is taken or made as by quantize.

    Writes sensitivity.json and sensitivity.html, a page with a chart.
    """
    from tresnet_deploy.artifacts import to_json, write_whole
    from tresnet_deploy.cli._sensitivity_text import text
    from tresnet_deploy.images import counted
    from tresnet_deploy.report.int8 import sensitivity_page
    from tresnet_deploy.sensitivity import PAGE, REPORT, sensitivity

    source = float_graph_at(model, folder)
    images = split(source, calibration, folder=held_out, count=held_out_samples, seed=seed)
    say(f"measuring each {by} of {described(source)} on {counted(len(images.judged))}")
    with progress_bar(quiet=quiet) as progress:
        report = sensitivity(
            source,
            folder,
            calibration=images.calibration,
            images=images.judged,
            options=calibration.options(seed),
            by=by,
            names=only,
            progress=progress,
        )
    write_whole(folder / PAGE, sensitivity_page(report).encode())
    emit(to_json(report) if output_format == "json" else text(report))
    for note in (*report.notes, *(f"left out: {reason}" for reason in report.skipped)):
        warn(note)
    say(f"saved: {folder / REPORT}, and as a page {folder / PAGE}")
    where = output_suffix(folder)
    say(f"next: tresnet-deploy build-engine --int8 --min-agreement 99%{where}")
