"""Axes: values become positions in percent of a plot's width, with few round ticks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_MOST_TICKS: Final = 6
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_LOG_STEPS: Final = ((1.0, 2.0, 5.0), (1.0, 2.0, 3.0, 5.0, 7.0))
_FEWEST_TICKS: Final = 3
_PLAIN_FROM: Final = 1e-3  # smaller numbers are written as powers of ten
_FULL: Final = 100.0
_ROOM: Final = 0.04  # of an axis, left free beyond the outermost value


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A labelled position."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A linear or logarithmic axis from ``low`` to ``high``."""

    low: float
    high: float
    log: bool
    ticks: tuple[Tick, ...] = ()

    def at(self, value: float) -> float:
        """Return where ``value`` lies, in percent of the width; values outside lie on the edge."""
        return _position(value, self.low, self.high, log=self.log)


def linear(low: float, high: float, *, unit: str = "") -> Axis:
    """Return an axis over [low, high] with at most seven round ticks."""
    if high <= low:
        high = low + 1.0
    values, digits = _even_values(low, high)
    ticks = (
        Tick(at=_position(v, low, high, log=False), text=f"{signed(v, digits)}{unit}")
        for v in values
    )
    return Axis(low=low, high=high, log=False, ticks=tuple(ticks))


def _even_values(low: float, high: float) -> tuple[list[float], int]:
    """Return multiples of a round step within [low, high], and the decimals that they need."""
    rough = (high - low) / _MOST_TICKS
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(size * magnitude for size in _STEPS if size * magnitude >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (step / magnitude == _STEPS[2]))
    return [number * step for number in range(first, last + 1)], digits


def symmetric(reach: float, *, unit: str = "") -> Axis:
    """Return a linear axis with zero in its middle."""
    reach = reach * (1 + _ROOM) or 1.0
    return linear(-reach, reach, unit=unit)


def logarithmic(low: float, high: float, *, unit: str = "") -> Axis:
    """Return an axis over positive values with few ticks at round numbers."""
    room = max((high / low) ** _ROOM, 1 + _ROOM)
    low, high = low / room, high * room
    ticks = (
        Tick(at=_position(value, low, high, log=True), text=f"{_plain(value)}{unit}")
        for value in _log_values(low, high)
    )
    return Axis(low=low, high=high, log=True, ticks=tuple(ticks))


def _log_values(low: float, high: float) -> list[float]:
    """Return round values: 1, 2, 5 of each decade, more in a short range, decades in a long one."""
    for steps in _LOG_STEPS:
        values = _round_values(low, high, steps)
        if len(values) > _MOST_TICKS:
            decades = _round_values(low, high, (1.0,))
            return decades[:: math.ceil(len(decades) / _MOST_TICKS)]
        if len(values) >= _FEWEST_TICKS:
            return values
    return _even_values(low, high)[0]


def _round_values(low: float, high: float, steps: tuple[float, ...]) -> list[float]:
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = (step * 10.0**exponent for exponent in exponents for step in steps)
    return [value for value in values if low <= value <= high]


def _plain(value: float) -> str:
    if value >= _PLAIN_FROM:
        return f"{value:.12g}"
    exponent = str(round(math.log10(value)))
    return "10" + exponent.translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def signed(value: float, digits: int) -> str:
    """Return ``value`` with a true minus sign, and none before a zero."""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", "−")


def _position(value: float, low: float, high: float, *, log: bool) -> float:
    if log:
        value, low, high = (math.log(max(each, 1e-300)) for each in (value, low, high))
    return round(min(_FULL, max(0.0, _FULL * (value - low) / (high - low))), 2)
