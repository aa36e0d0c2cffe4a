"""Charts as data: rows of texts, and marks at positions in percent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tresnet_deploy.report.axes import Axis

Kind = Literal["subject", "engine", "baseline", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar from the left edge, with the ends of its interval."""

    length: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip:
    """Percentiles on one line; ``shape`` is an SVG path of the distribution in a 100 x 10 box."""

    p50: float
    p90: float
    p99: float
    shape: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A point with the ends of its interval; the two are equal where there is none."""

    at: float
    low: float
    high: float
    stem: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartRow:
    """One line of a chart. ``badge`` is a word or two beside the name; ``mark`` may be missing."""

    name: str
    kind: Kind
    values: tuple[str, ...]
    badge: str = ""
    bar: Bar | None = None
    strip: Strip | None = None
    dot: Dot | None = None
    said: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A titled plot with columns of numbers; ``reference`` is the position of a line to beat."""

    title: str
    lead: str
    plot_head: str
    heads: tuple[str, ...]
    axis: Axis
    rows: tuple[ChartRow, ...]
    reference: float | None = None
    limit: float | None = None
