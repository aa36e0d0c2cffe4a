"""Turn a checkpoint into a verified ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tresnet_deploy.cli._export_options import GraphForm, export_options
from tresnet_deploy.cli._options import (
    BatchRange,
    emit,
    output_folder,
    output_format,
    overwrite,
    progress_bar,
    say,
    talkative,
    warn,
)
from tresnet_deploy.cli._weights import NamedWeights, weights_options
from tresnet_deploy.contracts import Batch
from tresnet_deploy.hints import output_suffix

if TYPE_CHECKING:
    from tresnet.checkpoint import Checkpoint
    from tresnet_deploy.export import ExportOptions


@click.command("export")
@weights_options
@click.option(
    "--batch",
    type=BatchRange(),
    help="Fix the batch size, or leave it symbolic and name the range that engines are built for.  "
    "[default: any, symbolic]",
)
@export_options
@overwrite
@output_folder
@output_format
@talkative
def command(
    *,
    named: NamedWeights,
    batch: Batch | None,
    form: GraphForm,
    overwrite: bool,
    folder: Path,
    output_format: str,
    quiet: bool,
) -> None:
    """Write the network of --variant or --checkpoint as ONNX, once it is proven equal.

    The graph runs real images at two batch sizes beside eager PyTorch with the original weights;
    the file appears only if both agree within 1e-5 of the outputs' scale.
    """
    from tresnet_deploy import weights
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._export_text import text
    from tresnet_deploy.export import export, file_name
    from tresnet_deploy.images import sample_photos

    options = form.options(batch)
    source = named.source(quiet=quiet)
    loaded = weights.load(source, quiet=quiet)
    with progress_bar(quiet=quiet) as progress:
        artifact = export(
            loaded,
            folder / file_name(loaded),
            source=source,
            options=options,
            images=sample_photos(),
            overwrite=overwrite,
            progress=progress,
        )
    emit(to_json(artifact) if output_format == "json" else text(loaded, artifact))
    _advise(loaded, options, source_is_random=source.kind == "random")
    where = output_suffix(folder)
    say(f"next: tresnet-deploy build-engine --int8{where}")
    say(f"      tresnet-deploy compare{where}")


def _advise(checkpoint: Checkpoint, options: ExportOptions, *, source_is_random: bool) -> None:
    """Warn of what the user may have overlooked."""
    from tresnet_deploy.eager import is_plain
    from tresnet_deploy.export import preprocess_for

    if source_is_random:
        warn("random weights show speed and size; they classify nothing")
    if options.normalize and is_plain(preprocess_for(checkpoint.input_rule, options)):
        warn("--normalize changes nothing: these weights take [0, 1] without mean and std")
