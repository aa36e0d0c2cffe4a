"""Kernels and findings in few words, for text and page alike."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tresnet_deploy.fusions.reports import (
    EXTRA,
    MEANINGS,
    FindingKind,
    FusionReport,
    FusionTotals,
    Kernel,
    KernelFinding,
)

_PAIRS: Final = ("QuantizeLinear", "DequantizeLinear")
_SHOWN_CHARACTERS: Final = 40  # of a builder's own name for a kernel


def computes(kernel: Kernel) -> str:
    """Return what ``kernel`` computes: ONNX nodes, "Q" for all that quantise.

    Dequantising is left out where there is more to tell. A kernel without origin has the builder's
    own name.
    """
    pairs = tuple(zip(kernel.origin, kernel.operators, strict=True))
    told = [short(name) for name, operator in pairs if operator not in _PAIRS]
    if not told:
        told = [short(name) for name in kernel.origin]
    elif any(operator == "QuantizeLinear" for _, operator in pairs):
        told.append("Q")
    return ", ".join(told) if told else f"({kernel.name[:_SHOWN_CHARACTERS]})"


def short(name: str) -> str:
    """Return a node inside of a function by the function's call alone."""
    return name.partition(" | ")[2] or name


def place_of(finding: KernelFinding) -> str:
    """Return where ``finding`` is: its first ONNX node, or what reads the kernel's result."""
    if finding.origin:
        return short(finding.origin[0])
    return f"before {short(finding.before)}" if finding.before else finding.kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingGroup:
    """All findings of one kind; ``places`` are where they are, each once."""

    kind: FindingKind
    count: int
    meaning: str
    places: tuple[str, ...]

    def shown(self, most: int) -> str:
        """Return the first ``most`` places as one text."""
        more = ", ..." if len(self.places) > most else ""
        return ", ".join(self.places[:most]) + more


def groups(report: FusionReport) -> Iterator[FindingGroup]:
    """Give the findings of each kind that there is, in the order of ``MEANINGS``."""
    for kind, meaning in MEANINGS.items():
        found = report.of(kind)
        if found:
            places = tuple(dict.fromkeys(place_of(finding) for finding in found))
            yield FindingGroup(kind=kind, count=len(found), meaning=meaning, places=places)


def marks(report: FusionReport) -> dict[str, FindingKind]:
    """Return the first kind of finding on each kernel that has one, by the kernel's name."""
    return {finding.kernel: finding.kind for finding in reversed(report.findings)}


def kinds(totals: FusionTotals) -> str:
    """Return how many kernels there are of each of the builder's types, and for what."""
    several = f", for {totals.profiles} optimisation profiles" if totals.profiles > 1 else ""
    return _counts(totals.kinds.items()) + several


def extras(report: FusionReport) -> str:
    """Return how many kernels compute nothing in which way, "" where all compute."""
    found = ((kind, len(report.of(kind))) for kind in EXTRA)
    return _counts((kind, count) for kind, count in found if count)


def _counts(pairs: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count}" for name, count in pairs)
