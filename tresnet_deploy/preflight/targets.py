"""Compute capabilities: which GPUs a graph is meant for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from tresnet_deploy.errors import UsageError


@dataclass(frozen=True, slots=True, order=True)
class Capability:
    """A compute capability, such as 8.6."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Return it as NVIDIA writes it."""
        return f"{self.major}.{self.minor}"


TURING: Final = Capability(7, 5)
FIRST_WITH_BFLOAT16: Final = Capability(8, 0)
FIRST_WITH_FLOAT8: Final = Capability(8, 9)
NEWEST: Final = Capability(12, 1)
# TensorRT-RTX 1.7 builds for these, and for all but Turing when nothing is named.
OF_RTX: Final = tuple(
    Capability(*pair) for pair in ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
)
PORTABLE: Final = OF_RTX[1:]

_WRITTEN: Final = re.compile(r"(?:sm_?)?(\d{1,2})\.?(\d)", re.IGNORECASE)


def parse(text: str) -> Capability:
    """Return the capability written as 8.6, 86 or sm86.

    Raises:
        UsageError: it is none of these, or of a GPU that TensorRT 11 does not know.
    """
    found = _WRITTEN.fullmatch(text.strip())
    if found is None:
        raise UsageError(f"{text!r} is no compute capability, such as 8.6 or sm86")
    capability = Capability(int(found[1]), int(found[2]))
    if not TURING <= capability <= NEWEST:
        raise UsageError(f"TensorRT 11 knows GPUs from {TURING} to {NEWEST}, not {capability}")
    return capability
