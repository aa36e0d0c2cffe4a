"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import Final

from tresnet_deploy.report.axes import signed
from tresnet_deploy.results import Interval

_SIGNIFICANT: Final = 3
_PERCENT: Final = 100.0
_DB_PER_DECADE: Final = 20.0  # of amplitude
_SMALLEST_SHARE: Final = 1e-4


def significant(value: float, digits: int = _SIGNIFICANT) -> str:
    """Return ``value`` with ``digits`` significant digits and no exponent: 0.123, 12.3, 1230."""
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def milliseconds(value: float) -> str:
    """Return a time as 0.123 ms or 12.3 ms."""
    return f"{significant(value)} ms"


def factor(value: float) -> str:
    """Return a ratio as 3.94×."""
    return f"{value:.2f}×"


def span(interval: Interval, digits: int = 2) -> str:
    """Return an interval as 3.88 to 4.01."""
    return f"{signed(interval.low, digits)} to {signed(interval.high, digits)}"


def percent(share: float, digits: int = 2) -> str:
    """Return a share of 1 as 91.40 %."""
    return f"{share * _PERCENT:.{digits}f} %"


def points(change: float) -> str:
    """Return a change of a share as a signed number of percentage points: +0.20 or −0.10."""
    text = signed(change * _PERCENT, 2)
    return f"+{text}" if change > 0 and float(text) > 0 else text


def points_span(interval: Interval) -> str:
    """Return an interval of a change of a share in points."""
    return f"{points(interval.low)} to {points(interval.high)}"


def noise_of(snr_db: float | None) -> float:
    """Return the error as a share of the scores' own size: 10^(-SNR / 20), 0 when identical."""
    return 0.0 if snr_db is None else 10.0 ** (-snr_db / _DB_PER_DECADE)


def noise(share: float) -> str:
    """Return an error's share of the scores as 1.2 %, <0.01 % or none."""
    if share == 0:
        return "none"
    return "<0.01 %" if share < _SMALLEST_SHARE else f"{significant(share * _PERCENT, 2)} %"


def mebibytes(value: float) -> str:
    """Return a size as 53.4 MiB."""
    return f"{significant(value)} MiB"


def seconds(value: float) -> str:
    """Return a duration as 6.1 s."""
    return f"{value:.1f} s"
