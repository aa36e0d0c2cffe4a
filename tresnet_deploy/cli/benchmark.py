"""Time engines beside eager PyTorch, interleaved, with intervals."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tresnet_deploy.cli._models import described, engines_of, model_at
from tresnet_deploy.cli._options import (
    emit,
    output_folder,
    output_format,
    progress_bar,
    say,
    talkative,
)
from tresnet_deploy.hints import output_suffix

if TYPE_CHECKING:
    from tresnet_deploy.timing import Schedule

_MOST = 4096


class Batches(click.ParamType[tuple[int, ...]]):
    """``N,N,...``, in images."""

    name = "N,N,..."

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, ...]:
        """Return the batch sizes; what is no list of numbers from 1 on is a usage error."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(",")
        if not all(part.isdecimal() and 1 <= int(part) <= _MOST for part in parts):
            self.fail(f"{value!r} is no list of numbers from 1 to {_MOST}, such as 1,8", param, ctx)
        return tuple(map(int, parts))


@click.command("benchmark")
@click.argument("engines", metavar="[ENGINE]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--batches",
    type=Batches(),
    help="Batch sizes of the throughput scenario.  [default: 1,8, and what an engine that takes "
    "neither is built for]",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Interleaved rounds.  [default: 7]")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    help="Each contestant's turn in a round.  [default: 1]",
)
@click.option(
    "--quick", is_flag=True, help="Few short rounds, without torch.compile: not for publication."
)
@click.option(
    "--eager/--no-eager", default=True, show_default=True, help="Time PyTorch beside the engines."
)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=None,
    help="Time torch.compile too; it takes minutes.  [default: unless --quick]",
)
@click.option(
    "--include-transfers",
    "transfers",
    is_flag=True,
    help="Put the copies from and to the host into the steps of what runs on a GPU.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of images to run on.  [default: images in the package]",
)
@click.option(
    "--min-speedup",
    type=click.FloatRange(min=0),
    help="End with 1 unless the ratio of the last ENGINE (default: the newest), at the lower end "
    "of its interval, is at least this in every scenario.",
)
@output_folder
@output_format
@talkative
def command(
    *,
    engines: tuple[Path, ...],
    batches: tuple[int, ...] | None,
    rounds: int | None,
    seconds: float | None,
    quick: bool,
    eager: bool,
    compiled: bool | None,
    transfers: bool,
    images: Path | None,
    min_speedup: float | None,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Time ENGINEs (default: all of the folder) beside eager PyTorch in this very process.

    Two scenarios: latency (batch 1, the next request after the last returns) and throughput (each
    of --batches). Contestants take turns in shuffled rounds on the same images; only the network's
    run is timed. An engine that failed parity (parity.json, by the file's hash) shows no speed-up
    and ends the command with 1; one that was never compared is labelled so.

    Engines on a GPU are timed by CUDA events too, with and without a CUDA graph, beside PyTorch on
    that GPU; clocks and throttling are logged, and NVIDIA's own equivalent command is printed.

    Writes benchmark.json, with all samples, beside the engines.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._benchmark_text import failure, text
    from tresnet_deploy.contestants import REPORT, Options, measure
    from tresnet_deploy.images import default_images

    models = tuple(model_at(path, folder) for path in engines) or engines_of(folder)
    newest = models[-1]
    options = Options(
        batches=batches,
        schedule=_schedule(rounds, seconds, quick=quick),
        quick=quick,
        eager=eager,
        compiled=not quick if compiled is None else compiled,
        transfers=transfers,
    )
    pictures = default_images(newest, "benchmark", images)
    say(f"timing {', '.join(described(model) for model in models)}")
    with progress_bar(quiet=quiet) as progress:
        report = measure(
            models,
            pictures,
            folder=newest.path.parent,
            options=options,
            progress=progress,
            quiet=quiet,
        )
    emit(to_json(report) if output_format == "json" else text(report))
    for note in report.notes:
        say(f"note: {note}")
    say(f"saved: {newest.path.parent / REPORT}, with all samples")
    error = failure(report, newest, min_speedup=min_speedup)
    if error is not None:
        raise error
    say(f"next: tresnet-deploy evaluate --images DIR{output_suffix(newest.path.parent)}")


def _schedule(rounds: int | None, seconds: float | None, *, quick: bool) -> Schedule:
    """Return the default or the quick schedule, with what the user set in its place."""
    from tresnet_deploy.timing import QUICK, Schedule

    base = QUICK if quick else Schedule()
    return dataclasses.replace(base, rounds=rounds or base.rounds, seconds=seconds or base.seconds)
