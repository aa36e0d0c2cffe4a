"""Make an INT8, FP8, FP16 or bf16 graph of an FP32 one."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from tresnet_deploy.cli._calibration_options import Calibration, calibration_options, refuse_idle
from tresnet_deploy.cli._models import described, float_graph_at
from tresnet_deploy.cli._options import (
    emit,
    output_folder,
    output_format,
    overwrite,
    progress_bar,
    say,
    seed_option,
    talkative,
)
from tresnet_deploy.hints import output_suffix


@click.command("quantize")
@click.argument("model", metavar="[ONNX]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(["int8", "fp8", "fp16", "bf16"]),
    default="int8",
    show_default=True,
    help="fp16 only looks at ranges, on at most 32 of the images; bf16 needs none.",
)
@calibration_options
@seed_option("Of the sample.")
@overwrite
@output_folder
@output_format
@talkative
@click.pass_context
def command(
    ctx: click.Context,
    *,
    model: Path | None,
    precision: Literal["int8", "fp8", "fp16", "bf16"],
    calibration: Calibration,
    seed: int,
    overwrite: bool,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Write ONNX (default: the newest FP32 graph) in another precision.

    INT8 is calibrated on images and becomes pairs of QuantizeLinear and DequantizeLinear, symmetric
    and placed by TensorRT's rules, which every engine runs. FP8 (E4M3) is placed alike, for NVIDIA
    GPUs of compute capability 8.9 and up. FP16 and bf16 become types in the graph; its input and
    output stay FP32, and in FP16 what would come near its largest number.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._quantize_text import text
    from tresnet_deploy.quantize import convert, quantize

    if precision in {"fp16", "bf16"}:
        why = f"{precision} is a type in the graph, not calibrated"
        refuse_idle(ctx, why, "--precision int8", effective=("calibration_data", "strict"))
    source = float_graph_at(model, folder)
    target = folder / f"{source.path.stem}.{precision}.onnx"
    say(f"quantizing {described(source)}")
    with progress_bar(quiet=quiet) as progress:
        if precision == "int8" or precision == "fp8":  # noqa: PLR1714  (so that types are narrowed)
            artifact = quantize(
                source,
                target,
                images=calibration.images(source),
                options=calibration.options(seed),
                precision=precision,
                overwrite=overwrite,
                progress=progress,
            )
        else:
            artifact = convert(
                source,
                target,
                precision=precision,
                images=calibration.images(source),
                strict=calibration.strict,
                overwrite=overwrite,
            )
    emit(to_json(artifact) if output_format == "json" else text(artifact, source))
    where = output_suffix(folder)
    say(f"next: tresnet-deploy build-engine --precision {precision}{where}")
    say(f"      tresnet-deploy compare{where}")
