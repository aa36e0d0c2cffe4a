"""Kernels and findings in few words, for text and page alike."""

from __future__ import annotations

from typing import Final

from tresnet_deploy.fusions.reports import Kernel, KernelFinding

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
