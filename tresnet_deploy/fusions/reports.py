"""What a builder made of a graph: its kernels, and what a reader should know of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from tresnet_deploy.contracts import SCHEMA_VERSION

FindingKind = Literal[
    "activation apart",
    "float output",
    "quantisation left",
    "cast",
    "reformat",
    "padding apart",
    "move",
]

MEANINGS: Final[Mapping[FindingKind, str]] = {
    "activation apart": "a convolution whose own activation is in a later kernel",
    "float output": "a quantised convolution that hands on float, four bytes a number",
    "quantisation left": "a kernel that does nothing but quantise or dequantise",
    "cast": "a kernel that does nothing but change the float type",
    "reformat": "a kernel that does nothing but change the layout in memory",
    "padding apart": "a padding that is a kernel of its own",
    "move": "a kernel that only moves data, as SpaceToDepth does",
}
EXTRA: Final[tuple[FindingKind, ...]] = (
    "quantisation left",
    "cast",
    "reformat",
    "padding apart",
    "move",
)
"""Kernels that compute nothing of the network: each is a launch, and a pass over memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTensor:
    """One input or output of a kernel, in the builder's own words; -1 is an open dimension."""

    name: str
    shape: str
    dtype: str
    format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """One fused kernel.

    ``origin`` are the ONNX nodes that it computes, in the builder's order, and ``operators`` their
    types, "" where that is not known. ``constants`` counts weights. Where the builder chooses
    ``tactic`` only on the GPU, it is a stub or empty. ``profile`` is the optimisation profile that
    runs it, by number.
    """

    name: str
    kind: str
    inputs: tuple[KernelTensor, ...]
    outputs: tuple[KernelTensor, ...]
    constants: int
    tactic: str
    origin: tuple[str, ...]
    operators: tuple[str, ...] = ()
    profile: int = 0

    @property
    def reads(self) -> tuple[str, ...]:
        """The types of the inputs, each once."""
        return tuple(dict.fromkeys(tensor.dtype for tensor in self.inputs))

    @property
    def writes(self) -> tuple[str, ...]:
        """The types of the outputs, each once."""
        return tuple(dict.fromkeys(tensor.dtype for tensor in self.outputs))


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelFinding:
    """Something to know about the kernel ``kernel``; ``origin`` are the ONNX nodes concerned.

    ``before`` is the first node of the kernel that reads the result, for one that has no origin.
    """

    kind: FindingKind
    kernel: str
    origin: tuple[str, ...]
    before: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionTotals:
    """The report in numbers, over all optimisation profiles: each has kernels of its own.

    ``kinds`` counts kernels by the builder's own types of layers.

    ``activated`` are the convolutions that have an activation of their own which some kernel names,
    ``fused`` those of them that compute it in the same kernel. ``untold`` are the convolutions, and
    the activations of convolutions, that no kernel names: a builder that makes a matrix product of
    a 1x1 convolution forgets its activation. All three are None where the graph was not at hand.
    ``unfused_pairs`` counts the Q and DQ nodes whose kernel does nothing else.
    """

    profiles: int
    kernels: int
    kinds: Mapping[str, int]
    convolutions: int
    activated: int | None
    fused: int | None
    untold: int | None
    unfused_pairs: int
    extra_kernels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionReport:
    """The kernels of one engine, or the ``reason`` why they are not known.

    It describes the builder's plan. TensorRT-RTX makes machine code of it on the GPU, and TensorRT
    proper plans otherwise.
    """

    source: Literal["builder's log", "engine inspector", "none"]
    reason: str = ""
    kernels: tuple[Kernel, ...] = ()
    findings: tuple[KernelFinding, ...] = ()
    totals: FusionTotals | None = None
    notes: tuple[str, ...] = field(default=())
    schema_version: int = SCHEMA_VERSION

    @property
    def available(self) -> bool:
        """Whether the kernels are known."""
        return self.totals is not None

    @property
    def launched(self) -> tuple[Kernel, ...]:
        """The kernels without the helpers on the host, which read and write nothing."""
        return tuple(kernel for kernel in self.kernels if kernel.inputs or kernel.outputs)

    def of(self, kind: FindingKind) -> tuple[KernelFinding, ...]:
        """Return the findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)
