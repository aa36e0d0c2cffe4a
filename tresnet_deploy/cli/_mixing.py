"""How ``build-engine`` keeps blocks in float: the search before the build, and what it leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tresnet_deploy.cli._calibration_options import Calibration
from tresnet_deploy.cli._mixed_options import SAMPLES, Mixed
from tresnet_deploy.cli._options import emit, say, warn
from tresnet_deploy.contracts import Artifact, Batch, Progress
from tresnet_deploy.errors import UsageError
from tresnet_deploy.hints import output_suffix

if TYPE_CHECKING:
    from tresnet_deploy.cli._held_out_options import Split
    from tresnet_deploy.engines import Choice
    from tresnet_deploy.mixed import Bound, Chosen
    from tresnet_deploy.quantize import QuantizeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an engine is made from; ``chosen`` is the search, None where there was none."""

    source: Artifact
    options: QuantizeOptions
    chosen: Chosen | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What build-engine was asked for, as far as it decides the search."""

    source: Artifact
    folder: Path
    choice: Choice
    batch: Batch | None
    calibration: Calibration
    seed: int
    overwrite: bool
    output_format: str


def recipe(request: Request, mixed: Mixed, progress: Progress) -> Recipe:
    """Return what to build: the graph with blocks kept in float, where a bound asks for it.

    Raises:
        UsageError: a bound where no INT8 graph is made, or a file to be made is there already.
        GateError: no mixture meets the bound; the curve was printed, and nothing was written.
        DeployError: as the search raises.
    """
    from tresnet_deploy.mixed import applied

    options = request.calibration.options(request.seed)
    bound = mixed.bound()
    if bound is None:
        return Recipe(source=request.source, options=options)
    _refuse(request, bound)
    chosen = _searched(request, mixed, bound, options, progress)
    source, options = applied(request.source, chosen)
    return Recipe(source=source, options=options, chosen=chosen)


def planned(request: Request, mixed: Mixed) -> Bound | None:
    """Return the bound that a build would look for, after what can be refused at once.

    Raises:
        UsageError: as :func:`recipe` raises before its search.
        ImageError: there are no images to judge on.
    """
    bound = mixed.bound()
    if bound is not None:
        _refuse(request, bound)
        _images(request, mixed)
    return bound


def _images(request: Request, mixed: Mixed) -> Split:
    from tresnet_deploy.cli._held_out_options import split

    return split(
        request.source,
        request.calibration,
        folder=mixed.held_out,
        count=mixed.held_out_samples or SAMPLES,
        seed=request.seed,
    )


def leave(recipe: Recipe, folder: Path) -> None:
    """Write the search beside the engine that it led to, as JSON and as a page."""
    if recipe.chosen is None:
        return
    from tresnet_deploy.artifacts import write_whole
    from tresnet_deploy.mixed import PAGE, save
    from tresnet_deploy.report.int8 import mixed_page

    report = recipe.chosen.report
    where = save(report, folder)
    write_whole(folder / PAGE, mixed_page(report, recipe.chosen.sensitivity).encode())
    say(f"saved: {where}, and as a page {folder / PAGE}")


def _searched(
    request: Request, mixed: Mixed, bound: Bound, options: QuantizeOptions, progress: Progress
) -> Chosen:
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._mixed_text import failure, text
    from tresnet_deploy.images import counted
    from tresnet_deploy.mixed import Wanted, choose

    images = _images(request, mixed)
    judged = counted(len(images.judged))
    say(f"looking for the fewest blocks in float with {bound}, on {judged}")
    chosen = choose(
        request.source,
        request.folder,
        Wanted(
            bound=bound,
            backend=request.choice.backend,
            options=request.choice.options,
            batch=request.batch,
            latency_table=mixed.latency_table,
        ),
        calibration=images.calibration,
        images=images.judged,
        options=options,
        progress=progress,
    )
    for note in chosen.report.notes:
        warn(note)
    failed = chosen.report.kept is None
    if request.output_format == "text":
        emit(text(chosen.report) + "\n")
    elif failed:
        emit(to_json(chosen.report))
    if failed:
        raise failure(chosen.report, where=output_suffix(request.folder))
    return chosen


def _refuse(request: Request, bound: Bound) -> None:
    """Refuse a bound without a search, and files that the build would refuse after minutes."""
    from tresnet_deploy import build
    from tresnet_deploy.converting import file_name
    from tresnet_deploy.quantize.graphs import require_fp32

    choice, source, folder = request.choice, request.source, request.folder
    if choice.precision == "int8":
        require_fp32(source, "an INT8 engine that keeps a bound")
    if choice.graph != "int8" or not choice.calibrates:
        raise UsageError(
            f"--{bound.kind} changes nothing here: no INT8 graph is made",
            hints=("add --int8, with an FP32 graph", "leave it out"),
        )
    made = (
        folder / file_name(source, choice.graph),
        folder / build.file_name(source, choice.backend, choice.precision),
    )
    for target in made:
        if target.exists() and not request.overwrite:
            raise UsageError(f"{target} exists already", hints=("add --overwrite to replace it",))
