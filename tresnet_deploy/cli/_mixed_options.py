"""The options of mixed precision: a bound for an INT8 engine, and what to judge it on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tresnet_deploy.cli._held_out_options import held_out_options
from tresnet_deploy.cli._options import gathered
from tresnet_deploy.errors import UsageError

if TYPE_CHECKING:
    from tresnet_deploy.mixed import Bound

F = TypeVar("F", bound=Callable[..., Any])

SAMPLES = 500  # as compare: a bound of half a point needs 200 or more
_DIGITS = 9  # a billion images cannot show less
_UNCLEAR = 0.2  # a drop of 0.5 written without a percent sign was meant as half a point


class Share(click.ParamType[float]):
    """``0.5%`` or ``0.005``: a share of 1."""

    name = "PERCENT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the share; what is no number or not from 0 to 100 % is a usage error."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(%?)", str(value).strip())
        if not match:
            self.fail(f"{value!r} is no share: write 0.5% or 0.005", param, ctx)
        number = float(match[1])
        share = round(number / (100 if match[2] else 1), _DIGITS)
        if share > 1:
            way = "give less than 100%" if match[2] or number >= 100 else f"write {match[1]}%"  # noqa: PLR2004
            self.fail(f"{value!r} is more than everything: {way}", param, ctx)
        if param is not None and param.name == "max_drop" and not match[2] and share >= _UNCLEAR:
            self.fail(f"{value!r} is {100 * share:g} points: write {value}% or less", param, ctx)
        return share


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """What the options give, each under the name of its option."""

    max_drop: float | None
    min_agreement: float | None
    held_out: Path | None
    held_out_samples: int | None
    latency_table: Path | None

    def bound(self) -> Bound | None:
        """Return the bound, None where none is asked for.

        Raises:
            UsageError: two bounds, one that nothing or everything meets, or other options of
                mixed precision without a bound.
        """
        from tresnet_deploy.mixed import Bound

        if self.max_drop is not None and self.min_agreement is not None:
            raise UsageError("give --max-drop or --min-agreement: an engine is built for one bound")
        if self.max_drop is not None:
            return Bound(kind="max-drop", share=self.max_drop)
        if self.min_agreement is not None:
            return Bound(kind="min-agreement", share=self.min_agreement)
        idle = {
            "--held-out": self.held_out,
            "--held-out-samples": self.held_out_samples,
            "--latency-table": self.latency_table,
        }
        for name, value in idle.items():
            if value is not None:
                raise UsageError(
                    f"{name} changes nothing without a bound",
                    hints=("add --max-drop 0.5%, or --min-agreement 99%", "leave it out"),
                )
        return None


def mixed_options(function: F) -> F:
    """Add the options below; they arrive as one :class:`Mixed` called ``mixed``."""
    return gathered(function, Mixed, "mixed", _OPTIONS)


_OPTIONS = (
    click.option(
        "--max-drop",
        type=Share(),
        help="Keep the fewest blocks in float with which top-1 drops by at most this, as 0.5%, on "
        "labelled held-out images.",
    ),
    click.option(
        "--min-agreement",
        type=Share(),
        help="The same for the share of images with the float graph's top-1, as 99%: no labels "
        "needed.",
    ),
    *held_out_options(None, later=SAMPLES),
    click.option(
        "--latency-table",
        type=click.Path(path_type=Path, dir_okay=False),
        help="What each block costs, as JSON.  [default: measured here]",
    ),
)
