"""The types that cross borders: frozen, slotted, keyword-only, and nothing else.

In process a graph is an ``onnx_ir.Model``; between commands it is an :class:`Artifact`.
All of these serialise to JSON through msgspec; ``SCHEMA_VERSION`` is written with each.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION = 1

Array = npt.NDArray[Any]
Feeds = Mapping[str, Array]
Scalar = str | int | float | bool | None
Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
CALIBRATED: Final[tuple[Precision, ...]] = ("int8", "fp8")
"""Their graphs have Q/DQ pairs, whose scales come from images."""
Activation = Literal["none", "softmax", "sigmoid"]
Layout = Literal["float32-nchw", "uint8-nhwc"]


class Progress(Protocol):
    """Told how far a step is; the library itself prints nothing."""

    def __call__(self, done: int, total: int | None, what: str) -> None:
        """``done`` of ``total`` (None: unknown) units of ``what`` are finished."""


def no_progress(done: int, total: int | None, what: str) -> None:
    """Ignore progress: the default wherever a step takes a :class:`Progress`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output; a string in ``shape`` is a symbolic dimension, dtype is NumPy's."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Smallest, preferred and largest batch an engine takes, in images."""

    min: int = 1
    opt: int = 8
    max: int = 16

    @property
    def fixed(self) -> bool:
        """True when only one batch size is allowed."""
        return self.min == self.max

    @property
    def span(self) -> str:
        """The sizes in words: "8", or "1 to 16"."""
        return f"{self.min}" if self.fixed else f"{self.min} to {self.max}"

    def takes(self, images: int) -> bool:
        """Return whether a batch of ``images`` is within the range."""
        return self.min <= images <= self.max

    @classmethod
    def around(cls, parts: Iterable[Batch]) -> Batch:
        """Return the range that ``parts`` cover together; the widest one says what is best."""
        found = tuple(parts)
        widest = max(found, key=lambda part: part.max - part.min)
        smallest, largest = min(part.min for part in found), max(part.max for part in found)
        return cls(min=smallest, opt=widest.opt, max=largest)

    def __str__(self) -> str:
        """Return MIN:OPT:MAX, as people type it."""
        return f"{self.min}:{self.opt}:{self.max}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preprocess:
    """How an image file becomes a model input: the one contract all steps share.

    ``resize`` "crop": the short side becomes ``int(size / crop_pct)``, then a centre crop;
    "squish": both sides are resized, the aspect ratio is not kept. Values are ``x / 255``, then
    ``(x - mean) / std``; the MIIL weights take plain [0, 1], so mean 0 and std 1.
    ``layout`` and ``normalize_in_graph`` say which of these the graph does itself.
    """

    height_px: int = 224
    width_px: int = 224
    resize: Literal["crop", "squish"] = "crop"
    crop_pct: float = 0.875
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    color_order: Literal["rgb", "bgr"] = "rgb"
    layout: Layout = "float32-nchw"
    normalize_in_graph: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigest:
    """A file by name (beside its artefact), with the sha256 of its bytes."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where the weights came from, with all that is needed to load them again.

    ``kind`` "file": ``location`` is a path; "published": a tag such as ``miil_in1k``;
    "random": seeded weights, ``location`` is empty.
    """

    kind: Literal["file", "published", "random"]
    location: str
    sha256: str
    variant: str | None = None
    classes: int | None = None
    seed: int | None = None
    gammas: Literal["auto", "absolute", "plain"] = "auto"
    stem_slope: float | None = None
    block_slope: float | None = None
    trust_pickle: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What the outputs mean. ``names`` is empty when the checkpoint carries none."""

    classes: int
    names: tuple[str, ...] = ()
    multi_label: bool = False
    activation: Activation = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file a step has made (or read), with its provenance; written beside it as JSON.

    ``path`` is where the file lies now; the sidecar stores only its name, so a folder can move.
    ``companions`` are further files of the same artefact (OpenVINO's ``.bin``).
    ``parents`` are the files it was made from, nearest first.
    """

    path: Path
    kind: Literal["checkpoint", "onnx", "engine"]
    step: str
    sha256: str
    architecture: str
    precision: Precision
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: Preprocess
    labels: Labels
    source: Source
    companions: tuple[FileDigest, ...] = ()
    parents: tuple[FileDigest, ...] = ()
    backend: str | None = None
    device: str | None = None
    batch: Batch | None = None
    settings: Mapping[str, Scalar] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    verified: str | None = None
    created: str = ""
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A match that a graph pass left alone, and why."""

    match: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a graph pass changed, and one reason for each match it left alone."""

    changed: int
    left: tuple[Refusal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRange:
    """Symmetric calibration range of one activation: values beyond ``amax`` saturate."""

    tensor: str
    amax: float
    observed_min: float
    observed_max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationTable:
    """Ranges per tensor, valid only for the graph, images and settings hashed in it.

    ``notes`` are warnings about the images that the user should read.
    """

    method: str
    ranges: tuple[TensorRange, ...]
    images: int
    skipped: tuple[str, ...]
    graph_sha256: str
    dataset_sha256: str
    preprocess_sha256: str
    tool_version: str
    notes: tuple[str, ...] = ()
    schema_version: int = SCHEMA_VERSION


class Session(Protocol):
    """A model loaded on a device. Times are taken around ``step`` alone."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` to the device, once."""

    def step(self) -> None:
        """Run once; return when the device has finished."""

    def fetch(self) -> dict[str, Array]:
        """Copy the outputs of the last step to the host."""

    def close(self) -> None:
        """Give back what the session holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a backend can do on this machine: printed by doctor, used to choose the default.

    ``usable`` says that it builds engines here; ``runs`` that it also executes them here. TensorRT
    for RTX builds without a GPU, for GPUs elsewhere.
    """

    usable: bool
    reason: str
    runs: bool = True
    version: str = ""
    devices: tuple[str, ...] = ()
    precisions: tuple[Precision, ...] = ()


class Backend(Protocol):
    """A *module* in ``backends/`` with these names; there is no base class.

    ``GRAPHS`` says for each precision of an engine which precision the ONNX graph must have that it
    is built from: the same, but where a runtime's own setting makes the difference.
    """

    READS: Literal["checkpoint", "onnx"]
    WRITES: str
    GRAPHS: Mapping[Precision, Precision]
    Options: type

    def probe(self) -> Probe:
        """Say whether this backend builds and runs here, on what, in which precisions.

        Never raises.
        """

    def options_for(self, precision: Precision) -> Any:
        """Return the options that make the fastest engine of ``precision`` on this machine."""

    def build(self, source: Artifact, path: Path, *, batch: Batch, options: Any) -> Artifact:
        """Build ``path`` (a temporary name in the target folder) from ``source``."""

    def load(self, artifact: Artifact) -> Session:
        """Load an engine, or for READS == "onnx" also an ONNX artefact."""


def run(session: Session, feeds: Feeds) -> dict[str, Array]:
    """Return the outputs of ``session`` for ``feeds``: bind, step, fetch."""
    session.bind(feeds)
    session.step()
    return {name: np.asarray(value) for name, value in session.fetch().items()}
