"""What the building process is asked, and what it answers: one JSON file each way."""

from __future__ import annotations

from dataclasses import dataclass

from tresnet_deploy.backends._nvinfer_options import Capability, HardwareLevel
from tresnet_deploy.contracts import SCHEMA_VERSION

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The shapes that one input takes under one optimisation profile; one fixed shape if equal."""

    tensor: str
    min: Shape
    opt: Shape
    max: Shape

    @property
    def fixed(self) -> bool:
        """True when only one shape is allowed."""
        return self.min == self.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One build. ``runtime`` is the module to import.

    ``profiles`` hold the shapes of all inputs for each range of the batch; where there is one and
    its shapes are fixed, the network becomes static. ``capabilities`` empty: the runtime's own
    choice. ``plugins`` registers ours before the graph is parsed. ``timing_cache`` is read where it
    exists, and the new one is written to ``new_timing_cache``.
    """

    runtime: str
    graph: str
    engine: str
    profiles: tuple[tuple[Range, ...], ...]
    reply: str = ""
    capabilities: tuple[Capability, ...] = ()
    workspace_mib: int = 0
    optimization_level: int | None = None
    tf32: bool = False
    weight_streaming: bool = False
    hardware_compatible: HardwareLevel = "none"
    version_compatible: bool = False
    refit: bool = False
    plugins: bool = False
    timing_cache: str = ""
    new_timing_cache: str = ""
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a build: ``stage`` is how far it came, ``error`` None when it succeeded.

    ``words`` are the runtime's own errors, ``warnings`` its warnings, each once. ``layers`` is its
    text on the fused layers, where it gives one. ``os_errno`` says what the disk had against it.
    """

    stage: str
    version: str = ""
    error: str | None = None
    os_errno: int | None = None
    words: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    layers: str | None = None
    seconds: float = 0.0
    peak_mib: int = 0
    schema_version: int = SCHEMA_VERSION
