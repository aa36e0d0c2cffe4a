"""Pack an engine for another machine, or for Triton."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tresnet_deploy.cli._models import described, model_at
from tresnet_deploy.cli._options import (
    emit,
    gathered,
    output_folder,
    overwrite,
    say,
    talkative,
    typed_options,
    warn,
)
from tresnet_deploy.errors import UsageError
from tresnet_deploy.hints import quoted

if TYPE_CHECKING:
    from tresnet_deploy.contracts import Artifact
    from tresnet_deploy.images import ImageSet

F = TypeVar("F", bound=Callable[..., Any])
_SAMPLES = 100  # enough to see a broken engine; a bundle stays small


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What is for bundles alone."""

    weights: bool
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Triton:
    """What is for Triton alone."""

    name: str | None
    max_batch: int | None
    instances: int
    threads: int | None
    queue_delay: int
    failed: bool


def _bundle_options(function: F) -> F:
    """Add what is for bundles, passed as ``bundle``."""
    options = (
        click.option(
            "--weights/--no-weights",
            default=False,
            help="bundle: pack the checkpoint too, to compare.",
        ),
        click.option(
            "--samples",
            type=click.IntRange(min=1),
            default=_SAMPLES,
            show_default=True,
            help="bundle: pack at most N images.",
        ),
    )
    return gathered(function, Bundle, "bundle", options)


def _triton_options(function: F) -> F:
    """Add what is for Triton, passed as ``triton``."""
    options = (
        click.option(
            "--name", help="triton: of the model.  [default: from the engine, tresnet_l_int8]"
        ),
        click.option(
            "--max-batch",
            type=click.IntRange(min=1),
            help="triton: largest batch made of single requests.  "
            "[default: the engine's; OpenVINO: 1]",
        ),
        click.option(
            "--instances",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="triton: how many run at once.",
        ),
        click.option(
            "--threads", type=click.IntRange(min=1), help="triton: CPU threads of an instance."
        ),
        click.option(
            "--queue-delay",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="triton: microseconds a request may wait for others.",
        ),
        click.option(
            "--failed/--no-failed",
            default=False,
            help="triton: package an engine that failed parity.",
        ),
    )
    return gathered(function, Triton, "triton", options)


@click.command("package")
@click.argument("engine", metavar="[ENGINE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "kind",
    type=click.Choice(["bundle", "triton"]),
    required=True,
    help="bundle: graph, table and proof, to rebuild elsewhere; triton: a model repository.",
)
@click.option(
    "--to",
    "target",
    type=click.Path(path_type=Path),
    help="Where.  [default: ENGINE.bundle (a folder; a .tar file by that ending), or triton/]",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="bundle: images to pack, for comparing after the rebuild; triton: to prove the file on.",
)
@_bundle_options
@_triton_options
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@overwrite
@output_folder
@talkative
@click.pass_context
def command(
    ctx: click.Context,
    *,
    engine: Path | None,
    kind: str,
    target: Path | None,
    images: Path | None,
    bundle: Bundle,
    triton: Triton,
    as_json: bool,
    overwrite: bool,
    folder: Path,
    quiet: bool,
) -> None:
    """Pack ENGINE (default: the newest of the folder) for another machine, or for Triton.

    A bundle holds the graph that ENGINE was built from, its calibration table, sidecars, labels and
    verdict, with a hash of each; `tresnet-deploy rebuild` makes the engine anew from it. A Triton
    repository holds ENGINE itself, with config.pbtxt and labels; it is written only when the
    served file was loaded and answers as ENGINE does.
    """
    _refuse_idle(ctx, kind)
    artifact = model_at(engine, folder)
    say(f"packing {described(artifact)}")
    if kind == "bundle":
        pictures = _pictures(artifact, images, bundle.samples)
        _pack(artifact, target, bundle, pictures, as_json=as_json, overwrite=overwrite)
    else:
        pictures = _pictures(artifact, images, None)
        _serve(artifact, target, triton, pictures, as_json=as_json, overwrite=overwrite)


def _pack(
    engine: Artifact,
    target: Path | None,
    bundle: Bundle,
    images: ImageSet | None,
    *,
    as_json: bool,
    overwrite: bool,
) -> None:
    from tresnet_deploy import packaging
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._package_text import bundle_text

    packed = packaging.pack(
        engine,
        target or engine.path.with_name(f"{engine.path.stem}.bundle"),
        images=images,
        weights=bundle.weights,
        overwrite=overwrite,
    )
    emit(to_json(packed) if as_json else bundle_text(packed))
    _warn(packed.notes)
    say(f"next, on the other machine: tresnet-deploy rebuild {quoted(packed.path.name)}")


def _serve(
    engine: Artifact,
    target: Path | None,
    triton: Triton,
    images: ImageSet | None,
    *,
    as_json: bool,
    overwrite: bool,
) -> None:
    from tresnet_deploy import packaging
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._package_text import triton_text

    serving = packaging.Serving(
        name=triton.name or packaging.name_of(engine),
        max_batch=triton.max_batch,
        instances=triton.instances,
        threads=triton.threads,
        queue_delay_us=triton.queue_delay,
    )
    repository = packaging.write(
        engine,
        target or engine.path.with_name("triton"),
        serving,
        images=images,
        failed=triton.failed,
        overwrite=overwrite,
    )
    emit(to_json(repository) if as_json else triton_text(repository))
    _warn(repository.notes)
    say(f"next: tritonserver --model-repository={quoted(repository.path.parent.resolve())}")


def _pictures(artifact: Artifact, folder: Path | None, samples: int | None) -> ImageSet | None:
    from tresnet_deploy.images import default_images, sample

    if folder is None:
        return None
    found = default_images(artifact, "compare", folder)
    return found if samples is None else sample(found, samples, seed=0)


def _refuse_idle(ctx: click.Context, kind: str) -> None:
    """Refuse options of the other format instead of passing them over."""
    others = dataclasses.fields(Triton if kind == "bundle" else Bundle)
    typed = typed_options(ctx, (field.name for field in others))
    if typed:
        raise UsageError(
            f"{typed[0]} changes nothing with --format {kind}", hints=("leave it out",)
        )


def _warn(notes: tuple[str, ...]) -> None:
    for note in notes:
        warn(note)
