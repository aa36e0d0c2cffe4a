"""Build the engine of a bundle anew on this machine, and prove it here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tresnet_deploy.cli._engine_options import with_pairs
from tresnet_deploy.cli._options import (
    emit,
    output_folder,
    output_format,
    overwrite,
    progress_bar,
    say,
    talkative,
    warn,
)
from tresnet_deploy.hints import output_suffix
from tresnet_deploy.registry import BACKENDS

if TYPE_CHECKING:
    from tresnet_deploy.packaging import Rebuilt

_SAMPLES = 500  # as many as compare takes


@click.command("rebuild")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--backend",
    type=click.Choice(BACKENDS.names()),
    help="Who runs the engine.  [default: the one that was packed, with its options]",
)
@click.option(
    "-O",
    "--option",
    "extra",
    multiple=True,
    metavar="NAME=VALUE",
    help="An option of the backend's own, instead of the recorded one; may be repeated.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of images to compare on.  [default: those of the bundle, or in the package]",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    default=_SAMPLES,
    show_default=True,
    help="Compare on at most N of them, all classes alike.",
)
@click.option(
    "--compare/--no-compare", default=True, help="Compare with eager PyTorch after the build."
)
@click.option(
    "--trust-pickle/--no-trust-pickle",
    default=False,
    help="Load a packed pickle that runs code; only from makers whom you trust.",
)
@overwrite
@output_folder
@output_format
@talkative
def command(
    *,
    bundle: Path,
    backend: str | None,
    extra: tuple[str, ...],
    images: Path | None,
    samples: int,
    compare: bool,
    trust_pickle: bool,
    overwrite: bool,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Build the engine of BUNDLE (a folder or .tar file) for this machine.

    All hashes are checked first. Backend, precision, batch and options are the recorded ones. The
    engine is run beside its graph, and compared with eager PyTorch where the weights are packed or
    have a name.

    Ends with 1 when a gate fails.
    """
    from tresnet_deploy import packaging
    from tresnet_deploy.artifacts import to_json

    wish = packaging.Wish(
        backend=backend,
        options=with_pairs({}, extra),
        images=images,
        samples=samples,
        compare=compare,
        trust_pickle=trust_pickle,
    )
    say(f"rebuilding {bundle}")
    with progress_bar(quiet=quiet) as progress:
        rebuilt = packaging.rebuild(
            bundle, folder, wish, overwrite=overwrite, progress=progress, quiet=quiet
        )
    _show(rebuilt, folder, to_json(rebuilt) if output_format == "json" else None)


def _show(rebuilt: Rebuilt, folder: Path, json: bytes | None) -> None:
    """Print the outcome, as JSON where that was made; a failed comparison is an error."""
    from tresnet_deploy.cli._package_text import rebuilt_text
    from tresnet_deploy.cli._parity_text import failure, text

    parts = [rebuilt_text(rebuilt), *([text(rebuilt.parity)] if rebuilt.parity else [])]
    emit("\n\n".join(parts) if json is None else json)
    where = output_suffix(folder)
    if rebuilt.parity is not None:
        for note in rebuilt.parity.notes:
            warn(note)
        if rebuilt.parity.verdict == "fail":
            raise failure(rebuilt.parity, where=where)
    say(f"next: tresnet-deploy benchmark{where}")
