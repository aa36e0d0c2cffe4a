"""Turn a checkpoint into a verified ONNX file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tresnet_deploy.cli._options import (
    emit,
    output_folder,
    output_format,
    output_suffix,
    overwrite,
    progress_bar,
    say,
    talkative,
    warn,
)
from tresnet_deploy.cli._weights import NamedWeights, weights_options
from tresnet_deploy.contracts import Activation, Layout

if TYPE_CHECKING:
    from tresnet.checkpoint import Checkpoint
    from tresnet_deploy.export import ExportOptions

_OPSET = 18


class ImageSize(click.ParamType[tuple[int, int]]):
    """``N`` for a square or ``HEIGHTxWIDTH``, in pixels."""

    name = "N|HEIGHTxWIDTH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Return (height, width); a wrong one is a usage error."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,5})(?:x(\d{1,5}))?", str(value))
        if not match:
            self.fail(f"{value!r} is neither a number nor HEIGHTxWIDTH, such as 448x224")
        return int(match[1]), int(match[2] or match[1])


@click.command("export")
@weights_options
@click.option("--opset", type=int, default=_OPSET, show_default=True, help="Of the ONNX file.")
@click.option(
    "--batch", type=click.IntRange(min=1), help="Fix the batch size.  [default: any, symbolic]"
)
@click.option("--image-size", type=ImageSize(), help="In pixels.  [default: what the weights want]")
@click.option(
    "--dynamic-size/--fixed-size",
    default=False,
    help="Leave height and width symbolic: any multiples of 4.",
)
@click.option(
    "--operators",
    type=click.Choice(["function", "inline"]),
    default="function",
    show_default=True,
    help="Keep SpaceToDepth and BlurPool2d as named functions, or write standard operators only.",
)
@click.option(
    "--normalize/--no-normalize",
    default=False,
    help="Put the weights' mean and standard deviation into the graph.",
)
@click.option(
    "--input",
    "layout",
    type=click.Choice(["float32-nchw", "uint8-nhwc"]),
    default="float32-nchw",
    show_default=True,
    help="uint8-nhwc takes decoded images: cast, layout and scaling are in the graph.",
)
@click.option(
    "--activation",
    type=click.Choice(["none", "softmax", "sigmoid"]),
    default="none",
    show_default=True,
    help="What the graph ends in; none gives logits.",
)
@click.option(
    "--multi-label/--single-label",
    default=None,
    help="Whether an image may show several classes.  [default: by head and activation]",
)
@click.option(
    "--pad-channels/--no-pad-channels",
    default=False,
    help="Round channel counts up with zeros, exactly; quantize does this itself where it pays.",
)
@overwrite
@output_folder
@output_format
@talkative
def command(
    *,
    named: NamedWeights,
    opset: int,
    batch: int | None,
    image_size: tuple[int, int] | None,
    dynamic_size: bool,
    operators: Literal["function", "inline"],
    normalize: bool,
    layout: Layout,
    activation: Activation,
    multi_label: bool | None,
    pad_channels: bool,
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
    from tresnet_deploy.export import ExportOptions, export, file_name
    from tresnet_deploy.images import sample_photos

    options = ExportOptions(
        opset=opset,
        batch=batch,
        image_size=image_size,
        dynamic_size=dynamic_size,
        operators=operators,
        normalize=normalize,
        layout=layout,
        activation=activation,
        multi_label=multi_label,
        pad_channels=pad_channels,
    )
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
