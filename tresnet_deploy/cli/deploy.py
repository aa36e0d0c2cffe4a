"""Do it all: from weights to a proven, measured engine and a report."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tresnet_deploy.cli._calibration_options import Calibration, calibration_options
from tresnet_deploy.cli._export_options import GraphForm, export_options
from tresnet_deploy.cli._options import (
    PRECISIONS,
    BatchRange,
    emit,
    output_folder,
    output_format,
    overwrite,
    progress_bar,
    say,
    talkative,
    typed_options,
    warn,
)
from tresnet_deploy.cli._weights import NamedWeights, weights_options
from tresnet_deploy.contracts import Batch, Precision
from tresnet_deploy.errors import UsageError
from tresnet_deploy.hints import output_suffix
from tresnet_deploy.registry import BACKENDS

if TYPE_CHECKING:
    from tresnet_deploy.contestants import Options
    from tresnet_deploy.contracts import Source
    from tresnet_deploy.pipeline import Deployment
    from tresnet_deploy.report import StepTime

_SAMPLES = 500
# The seed is for random weights, but samples of images are drawn by it too.
_OF_WEIGHTS = {field.name for field in dataclasses.fields(NamedWeights)} - {"seed"}
# The demo's steps take a millisecond or two: turns of 0.3 s hold hundreds of them.
_DEMO_ROUNDS, _DEMO_SECONDS = 5, 0.3


@click.command("deploy")
@weights_options
@click.option("--demo", is_flag=True, help="Deploy the trained network in the package.")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="int8",
    show_default=True,
    help="What the engine computes in.",
)
@click.option(
    "--backend",
    type=click.Choice(BACKENDS.names()),
    help="Who runs it.  [default: the fastest usable here]",
)
@export_options
@click.option("--batch", type=BatchRange(), help="Images at once.  [default: 1:8:16]")
@calibration_options
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to prove the engine on; class folders, a labels.csv or COCO's annotations also "
    "give accuracy.  [default: images in the package]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=_SAMPLES,
    show_default=True,
    help="Compare on at most N of them.",
)
@click.option(
    "--rivals/--no-rivals",
    default=True,
    show_default=True,
    help="Also build what the engine has to beat: higher precisions, and the other backends.",
)
@click.option("--blame/--no-blame", default=False, help="Also show in which block accuracy goes.")
@click.option("--quick", is_flag=True, help="Time few short rounds: not for publication.")
@click.option(
    "--compile/--no-compile", "compiled", default=False, help="Time torch.compile too: minutes."
)
@overwrite
@output_folder
@output_format
@talkative
@click.pass_context
def command(
    ctx: click.Context,
    *,
    named: NamedWeights,
    demo: bool,
    precision: Precision,
    backend: str | None,
    form: GraphForm,
    batch: Batch | None,
    calibration: Calibration,
    images: Path | None,
    samples: int,
    rivals: bool,
    blame: bool,
    quick: bool,
    compiled: bool,
    overwrite: bool,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Export, quantize, build, compare, benchmark, and write report.html.

    Whatever the verdict, the report is written; the command ends with 1 when a gate failed. Run
    again after an interruption, it takes the files that the same settings have made already.
    """
    from tresnet_deploy.pipeline import Plan, deploy

    source = _demo_source(ctx) if demo else named.source(quiet=quiet)
    plan = Plan(
        source=source,
        folder=folder,
        precision=precision,
        backend=backend,
        batch=batch,
        rivals=rivals,
        export=form.options(),
        quantize=calibration.options(named.seed),
        calibration_data=calibration.calibration_data,
        images=images,
        samples=samples,
        seed=named.seed,
        blame=blame,
        benchmark=_timing(demo=demo, quick=quick, compiled=compiled),
        overwrite=overwrite,
        command=shlex.join(("tresnet-deploy", *sys.argv[1:])),
    )
    with progress_bar(quiet=quiet) as progress:
        deployment = deploy(plan, seen=_tell, progress=progress, quiet=quiet)
    _finish(deployment, folder, output_format)


def _demo_source(ctx: click.Context) -> Source:
    """Return the packaged checkpoint; refuse what would name or shape other weights."""
    from tresnet_deploy import weights
    from tresnet_deploy.images import demo_checkpoint

    typed = ", ".join(typed_options(ctx, _OF_WEIGHTS))
    if typed:
        raise UsageError(
            f"--demo deploys the network in the package; it takes no other weights, so not {typed}",
            hints=(f"leave out {typed}",),
        )
    return weights.resolve(checkpoint=demo_checkpoint())


def _timing(*, demo: bool, quick: bool, compiled: bool) -> Options:
    from tresnet_deploy.contestants import Options
    from tresnet_deploy.timing import QUICK, Schedule

    schedule = QUICK if quick else Schedule()
    if demo and not quick:
        schedule = dataclasses.replace(schedule, rounds=_DEMO_ROUNDS, seconds=_DEMO_SECONDS)
    return Options(schedule=schedule, quick=quick, compiled=compiled)


def _tell(number: int, name: str, done: StepTime | None) -> None:
    """Say that a step begins, or what it made in which time."""
    from tresnet_deploy.pipeline import STEPS

    place = f"[{number}/{len(STEPS)}]"
    if done is None:
        say(f"{place} {name}")
    else:
        took = "reused" if done.reused else f"{done.seconds:.1f} s"
        say(f"{' ' * len(place)} {took}: {done.result}")


def _finish(deployment: Deployment, folder: Path, output_format: str) -> None:
    """Print what came out, and end as the verdict demands."""
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._deploy_text import text
    from tresnet_deploy.cli._parity_text import failure

    emit(to_json(deployment) if output_format == "json" else text(deployment))
    for note in dict.fromkeys(deployment.parity.notes):
        warn(note)
    for doubt in deployment.benchmark.doubts:
        warn(f"times not for publication: {doubt}")
    for note in deployment.benchmark.notes:
        say(f"note: {note}")
    say(f"saved: {deployment.report}, and all that it tells of in {folder}/")
    where = output_suffix(folder)
    if deployment.parity.verdict == "fail":
        raise failure(deployment.parity, where=where)
    say(f"next: open {deployment.report} in a browser")
    say(f"      tresnet-deploy predict{where} IMAGE")
