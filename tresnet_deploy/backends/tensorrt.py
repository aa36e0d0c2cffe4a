"""TensorRT: builds engines on an NVIDIA GPU, for that GPU. Not run on a GPU yet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import tensorrt

from tresnet_deploy.backends import _nvinfer, _nvinfer_load, _nvinfer_options, _nvinfer_probe
from tresnet_deploy.backends._nvinfer_probe import GRAPHS, READS
from tresnet_deploy.contracts import Artifact, Batch, Precision, Probe, Session

__all__ = [
    "GRAPHS",
    "READS",
    "WRITES",
    "Options",
    "build",
    "load",
    "options_for",
    "probe",
]

WRITES: Final = ".tensorrt.engine"
_KIND: Final = _nvinfer_probe.Kind(runtime=tensorrt, name="tensorrt", title="TensorRT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(_nvinfer_options.Options):
    """The options of NVIDIA's runtimes, less those that TensorRT ignores or cannot do here."""

    def __post_init__(self) -> None:
        """Refuse the others, as a ValueError."""
        _nvinfer_options.check(self, tensorrt)


def options_for(precision: Precision) -> Options:
    """Return the options that make the fastest engine of ``precision``."""
    found = _nvinfer_probe.options_for(_KIND, precision)
    return msgspec.convert(found, Options, strict=False)


def probe() -> Probe:
    """Say what TensorRT builds here, and whether a GPU runs it."""
    return _nvinfer_probe.probe(_KIND)


def build(source: Artifact, path: Path, *, batch: Batch, options: Options) -> Artifact:
    """Write the engine of ``source`` to ``path``; errors as for :func:`_nvinfer.build`."""
    return _nvinfer.build(_KIND, source, path, batch=batch, options=options)


def load(artifact: Artifact) -> Session:
    """Load an engine on the GPU; errors as for :func:`_nvinfer_load.load`."""
    return _nvinfer_load.load(_KIND, artifact)
