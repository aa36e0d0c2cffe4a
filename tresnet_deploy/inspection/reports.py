"""What inspecting returns: one type for each kind of file, and one for the machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tresnet_deploy.contracts import (
    SCHEMA_VERSION,
    Artifact,
    Precision,
    Preprocess,
    Probe,
    TensorSpec,
)
from tresnet_deploy.fusions import FusionReport


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointReport:
    """A checkpoint of a TResNet; each ``..._reason`` says why, for people.

    ``variant`` is None where the network is no row of the table. ``negative_gammas`` and
    ``zero_gammas`` are fractions of all norm weights as stored. All weights are finite: others are
    refused. ``slopes`` are those of the leaky ReLUs in the stem and in the blocks.
    """

    path: str
    size_mib: float
    sha256: str
    layout: str
    wrapper: str
    prefix: str
    ignored: tuple[str, ...]
    architecture: str
    variant: str | None
    depths: tuple[int, int, int, int]
    width: int
    head: str
    classes: int
    class_names: tuple[str, ...]
    parameters: int
    gammas: str
    gammas_reason: str
    negative_gammas: float
    zero_gammas: float
    slopes: tuple[float, float]
    slopes_reason: str
    preprocess: Preprocess
    preprocess_reason: str
    kind: Literal["checkpoint"] = "checkpoint"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCount:
    """How often an operator stands in the graph; foreign domains stand before its name."""

    operator: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionCount:
    """A function that the file defines itself: how long its body is and how often it is called."""

    function: str
    body_nodes: int
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphReport:
    """An ONNX file, ours or anybody's; ``artifact`` is None where it does not say how it was made.

    ``opsets`` maps domains to versions ("" is ONNX itself). ``operators`` are those of the graph
    and its subgraphs, most frequent first; bodies of ``functions`` are not counted. ``layers`` are
    the kernels of an engine that was made for this report and thrown away, where that was asked.
    """

    path: str
    size_mib: float
    sha256: str
    producer: str
    opsets: Mapping[str, int]
    ir_version: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    weights: int
    operators: tuple[OperatorCount, ...]
    functions: tuple[FunctionCount, ...]
    quantize_nodes: int
    dequantize_nodes: int
    metadata: Mapping[str, str]
    artifact: Artifact | None
    layers: FusionReport | None = None
    kind: Literal["onnx"] = "onnx"
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentState:
    """A file that an engine was made from: "here", "made anew" since, or "missing"."""

    name: str
    sha256: str
    state: Literal["here", "made anew", "missing"]
    step: str = ""
    precision: Precision | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the parity report in the same folder says of this very file."""

    passed: bool
    images: int
    top1_agreement: float
    failed_gates: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineReport:
    """An engine and its origin; ``runtime`` says whether it can be loaded here.

    ``verdict`` is None until ``compare`` has seen this file. ``layers`` are the kernels that its
    builder named, None where it names none.
    """

    path: str
    size_mib: float
    artifact: Artifact
    parents: tuple[ParentState, ...]
    runtime: Probe
    verdict: Verdict | None
    layers: FusionReport | None = None
    kind: Literal["engine"] = "engine"
    schema_version: int = SCHEMA_VERSION


FileReport = CheckpointReport | GraphReport | EngineReport


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendState:
    """A backend on this machine; ``remedy`` is the command that would make it usable."""

    name: str
    probe: Probe
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineReport:
    """What this machine has, and which backend runs which precision here."""

    environment: Mapping[str, str]
    folders: Mapping[str, str]
    backends: tuple[BackendState, ...]
    missing: Mapping[str, str]
    schema_version: int = SCHEMA_VERSION

    @property
    def usable(self) -> bool:
        """True when at least one backend builds and runs here."""
        return any(each.probe.usable and each.probe.runs for each in self.backends)
