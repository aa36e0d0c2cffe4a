"""Aligned tables and numbers for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tresnet_deploy.results import Interval


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, indent: str = "") -> str:
    """Return ``rows`` under ``heads``: the first column to the left, numbers to the right."""
    lines = [list(heads), *(list(row) for row in rows)]
    numeric = [all(_is_number(line[c]) for line in lines[1:]) for c in range(len(heads))]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        indent
        + "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def percent(share: float | None, *, digits: int = 1) -> str:
    """Return a fraction of 1 in percent; a dash where it is not known."""
    return "-" if share is None else f"{100 * share:.{digits}f} %"


def percent_span(interval: Interval | None) -> str:
    """Return a 95 % interval in percent, or nothing."""
    if interval is None:
        return ""
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f} %"


def _is_number(cell: str) -> bool:
    return cell == "-" or cell[:1].isdigit() or (cell[:1] in "+-" and cell[1:2].isdigit())
