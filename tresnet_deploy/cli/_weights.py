"""Options that name weights, shared by the commands that start from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from tresnet_deploy.cli._options import gathered, seed_option

if TYPE_CHECKING:
    from tresnet_deploy.contracts import Source

F = TypeVar("F", bound=Callable[..., Any])
Slopes = tuple[float, float]


class SlopePair(click.ParamType[Slopes]):
    """``STEM:BLOCKS``, or one number for both."""

    name = "STEM:BLOCKS"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Slopes:
        """Return both slopes; what is no number from 0 up to 1 is a usage error."""
        if isinstance(value, tuple):
            return value
        parts = str(value).split(":")
        try:
            slopes = [float(part) for part in parts]
        except ValueError:
            slopes = []
        if len(slopes) not in (1, 2) or not all(0 <= slope < 1 for slope in slopes):
            self.fail(f"{value!r} is neither a slope nor STEM:BLOCKS, such as 0.01:0.001")
        return slopes[0], slopes[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedWeights:
    """What the options give."""

    variant: str | None
    checkpoint: Path | None
    tag: str | None
    seed: int
    classes: int | None
    gammas: Literal["auto", "absolute", "plain"]
    slopes: Slopes | None
    trust_pickle: bool

    def source(self, *, quiet: bool) -> Source:
        """Return the weights that the options name; published ones are fetched.

        Raises:
            UsageError: they name none or several.
            UnavailableError: published weights cannot be fetched.
        """
        from tresnet_deploy import weights

        stem_slope, block_slope = self.slopes or (None, None)
        return weights.resolve(
            variant=self.variant,
            checkpoint=self.checkpoint,
            tag=self.tag,
            seed=self.seed,
            classes=self.classes,
            gammas=self.gammas,
            stem_slope=stem_slope,
            block_slope=block_slope,
            trust_pickle=self.trust_pickle,
            quiet=quiet,
        )


def weights_options(function: F) -> F:
    """Add the options below; they arrive as one :class:`NamedWeights` called ``named``."""
    return gathered(function, NamedWeights, "named", _OPTIONS)


_OPTIONS = (
    click.option("--variant", help="Network by name: m, l, xl, v2_l, ...; see `variants`."),
    click.option(
        "--checkpoint",
        type=click.Path(path_type=Path),
        help="File with weights, of any known layout; the network is read off its tensors.",
    ),
    click.option(
        "--weights",
        "tag",
        metavar="TAG|random",
        help="Published weights of the variant by tag, or seeded random ones.  "
        "[default: the first published]",
    ),
    seed_option("Of random weights."),
    click.option(
        "--classes",
        type=click.IntRange(min=1),
        help="Number of outputs: of random weights, or what a checkpoint must have.",
    ),
    click.option(
        "--gammas",
        type=click.Choice(["auto", "absolute", "plain"]),
        default="auto",
        show_default=True,
        help="Whether norms are InPlace-ABN's, |weight| + 1e-5, or plain BatchNorm's.",
    ),
    click.option(
        "--slopes",
        type=SlopePair(),
        help="Of the leaky ReLUs, which no file stores.  [default: the publisher's]",
    ),
    click.option(
        "--trust-pickle/--no-trust-pickle",
        default=False,
        help="Load a pickle that runs code; only for files whose origin you trust.",
    ),
)
