"""The options of the graph: shared by every command that exports one."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from tresnet_deploy.cli._options import gathered
from tresnet_deploy.contracts import Activation, Batch, Layout

if TYPE_CHECKING:
    from tresnet_deploy.export import ExportOptions

F = TypeVar("F", bound=Callable[..., Any])

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


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphForm:
    """What the options give, each under the name of its option."""

    opset: int
    image_size: tuple[int, int] | None
    dynamic_size: bool
    operators: Literal["function", "inline", "plugin"]
    normalize: bool
    layout: Layout
    activation: Activation
    multi_label: bool | None
    pad_channels: bool

    def options(self, batch: Batch | None = None) -> ExportOptions:
        """Return them as those of the step.

        Raises:
            UsageError: no graph can be like that.
        """
        from tresnet_deploy.export import ExportOptions

        return ExportOptions(
            batch=batch,
            opset=self.opset,
            image_size=self.image_size,
            dynamic_size=self.dynamic_size,
            operators=self.operators,
            normalize=self.normalize,
            layout=self.layout,
            activation=self.activation,
            multi_label=self.multi_label,
            pad_channels=self.pad_channels,
        )


def export_options(function: F) -> F:
    """Add the options below; they arrive as one :class:`GraphForm` called ``form``."""
    return gathered(function, GraphForm, "form", _OPTIONS)


_OPTIONS = (
    click.option("--opset", type=int, default=_OPSET, show_default=True, help="Of the ONNX file."),
    click.option(
        "--image-size", type=ImageSize(), help="In pixels.  [default: what the weights want]"
    ),
    click.option(
        "--dynamic-size/--fixed-size",
        default=False,
        help="Leave height and width symbolic: any multiples of 4.",
    ),
    click.option(
        "--operators",
        type=click.Choice(["function", "inline", "plugin"]),
        default="function",
        show_default=True,
        help="Keep SpaceToDepth and BlurPool2d as named functions, write standard operators only, "
        "or ask TensorRT for our plugins.",
    ),
    click.option(
        "--normalize/--no-normalize",
        default=False,
        help="Put the weights' mean and standard deviation into the graph.",
    ),
    click.option(
        "--input",
        "layout",
        type=click.Choice(["float32-nchw", "uint8-nhwc"]),
        default="float32-nchw",
        show_default=True,
        help="uint8-nhwc takes decoded images: cast, layout and scaling are in the graph.",
    ),
    click.option(
        "--activation",
        type=click.Choice(["none", "softmax", "sigmoid"]),
        default="none",
        show_default=True,
        help="What the graph ends in; none gives logits.",
    ),
    click.option(
        "--multi-label/--single-label",
        default=None,
        help="Whether an image may show several classes.  [default: by head and activation]",
    ),
    click.option(
        "--pad-channels/--no-pad-channels",
        default=False,
        help="Round channel counts up with zeros, exactly; quantize does this itself where it "
        "pays.",
    ),
)
