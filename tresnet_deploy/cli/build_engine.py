"""Build an engine of an ONNX file, calibrating it first where that is asked for."""

from __future__ import annotations

from pathlib import Path

import click

from tresnet_deploy.cli._calibration_options import Calibration, calibration_options, refuse_idle
from tresnet_deploy.cli._engine_options import EngineFlags, engine_options
from tresnet_deploy.cli._mixed_options import Mixed, mixed_options
from tresnet_deploy.cli._models import described, float_graph_at
from tresnet_deploy.cli._options import (
    PRECISIONS,
    BatchRange,
    emit,
    output_folder,
    output_format,
    overwrite,
    progress_bar,
    say,
    seed_option,
    talkative,
)
from tresnet_deploy.contracts import CALIBRATED, Batch, Precision
from tresnet_deploy.errors import UsageError
from tresnet_deploy.registry import BACKENDS


@click.command("build-engine")
@click.argument("model", metavar="[ONNX]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    help="What the engine computes in.  [default: what the ONNX file is in]",
)
@click.option("--int8", is_flag=True, help="Short for --precision int8.")
@click.option("--fp16", is_flag=True, help="Short for --precision fp16.")
@click.option("--bf16", is_flag=True, help="Short for --precision bf16.")
@click.option(
    "--backend",
    type=click.Choice(BACKENDS.names()),
    help="Who runs it.  [default: the fastest usable here]",
)
@click.option(
    "--batch",
    "batches",
    type=BatchRange(),
    multiple=True,
    help="Images the engine takes at once; several ranges are several profiles of TensorRT.  "
    "[default: what ONNX was exported for, or 1:8:16]",
)
@engine_options
@calibration_options
@mixed_options
@seed_option("Of the calibration sample.")
@click.option("--dry-run", is_flag=True, help="Say what would be built, and write nothing.")
@overwrite
@output_folder
@output_format
@talkative
@click.pass_context
def command(
    ctx: click.Context,
    *,
    model: Path | None,
    precision: Precision | None,
    int8: bool,
    fp16: bool,
    bf16: bool,
    backend: str | None,
    batches: tuple[Batch, ...],
    flags: EngineFlags,
    calibration: Calibration,
    mixed: Mixed,
    seed: int,
    dry_run: bool,
    overwrite: bool,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Build an engine of ONNX (default: the newest FP32 graph) and prove it.

    INT8 is calibrated first, on --calibration-data or images in the package, unless the folder
    holds an INT8 graph made by the same settings, or ONNX is one. The engine appears only when it
    has run real images and computes what its graph does. One for a GPU that is not here is built,
    and says that it was not run.

    With --max-drop or --min-agreement the fewest blocks stay float that keep the bound on held-out
    images, each weighed by the latency it costs. Where none do, the command ends with 1, shows what
    was tried, and writes no engine.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli import _mixing
    from tresnet_deploy.cli._build_text import next_steps, plan_text, text
    from tresnet_deploy.engines import choose, make, plan

    wanted = _precision(precision, int8=int8, fp16=fp16, bf16=bf16)
    source = float_graph_at(model, folder)
    choice = choose(source, precision=wanted, backend=backend, options=flags.options(batches))
    batch = Batch.around(batches) if batches else None
    if not choice.calibrates:
        done = source.precision in CALIBRATED
        why = (
            f"{source.path.name} is {source.precision} already" if done else "no INT8 graph is made"
        )
        refuse_idle(ctx, why, "add --int8, with an FP32 graph")
    request = _mixing.Request(
        source=source,
        folder=folder,
        choice=choice,
        batch=batch,
        calibration=calibration,
        seed=seed,
        overwrite=overwrite,
        output_format=output_format,
    )
    if dry_run:
        bound = _mixing.planned(request, mixed)
        planned = plan(
            source,
            folder,
            choice,
            batch=batch,
            calibration_data=calibration.calibration_data,
            quantize=calibration.options(seed),
            bound=str(bound) if bound else None,
            overwrite=overwrite,
        )
        emit(to_json(planned) if output_format == "json" else plan_text(planned))
        return
    say(f"building {described(source)} for {choice.backend}: {choice.reason}")
    with progress_bar(quiet=quiet) as progress:
        recipe = _mixing.recipe(request, mixed, progress)
        engine = make(
            recipe.source,
            folder,
            choice,
            batch=batch,
            calibration_data=calibration.calibration_data,
            quantize=recipe.options,
            overwrite=overwrite,
            progress=progress,
        )
    _mixing.leave(recipe, folder)
    emit(to_json(engine) if output_format == "json" else text(engine, choice.reason))
    for line in next_steps(engine, folder):
        say(line)


def _precision(
    precision: Precision | None, *, int8: bool, fp16: bool, bf16: bool
) -> Precision | None:
    """Return the precision that is asked for, None where none is."""
    short: dict[Precision, bool] = {"int8": int8, "fp16": fp16, "bf16": bf16}
    asked = {name for name, given in short.items() if given} | ({precision} if precision else set())
    if len(asked) > 1:
        raise UsageError(f"an engine has one precision, not {' and '.join(sorted(asked))}")
    return next(iter(asked), None)
