"""What NVIDIA's two runtimes build and run here: this file is about asking them and the driver."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Final

from tresnet_deploy import gpus
from tresnet_deploy.backends._nvinfer_options import Capability, names_targets, targets
from tresnet_deploy.contracts import CALIBRATED, Precision, Probe

READS: Final = "onnx"
GRAPHS: Final[Mapping[Precision, Precision]] = {
    "fp32": "fp32",
    "fp16": "fp16",
    "bf16": "bf16",
    "int8": "int8",
    "fp8": "fp8",
}

_LEAST: Final[Capability] = (7, 5)  # Turing, the oldest that TensorRT 11 and TensorRT-RTX run on
# NVIDIA's support matrix, and what TensorRT-RTX 1.7.1 refuses for older ones.
_LEAST_OF: Final[Mapping[Precision, Capability]] = {"bf16": (8, 0), "fp8": (8, 9)}
PORTABLE_LEAST: Final[Capability] = (8, 0)
"""The oldest GPU that an engine of TensorRT-RTX runs on which names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One of the two runtimes: its module, its name on the command line, its name for people."""

    runtime: ModuleType
    name: str
    title: str


def probe(kind: Kind) -> Probe:
    """Say what the runtime builds and runs here."""
    version = str(kind.runtime.__version__)
    # IPluginV3 came with TensorRT 10, and so did all else that is needed here.
    if not hasattr(kind.runtime, "IPluginV3"):
        return Probe(
            usable=False,
            runs=False,
            reason=f"{kind.title} {version} is too old: 10 or newer is needed",
            version=version,
        )
    found = gpus.visible()
    fit = _fit(kind.runtime, found)
    builds = names_targets(kind.runtime) or fit is not None
    return Probe(
        usable=builds,
        runs=fit is not None,
        reason=_reason(kind, found, fit),
        version=version,
        devices=tuple(str(each) for each in found),
        precisions=_precisions(kind.runtime, fit) if builds else (),
    )


def _fit(runtime: ModuleType, found: tuple[gpus.Gpu, ...]) -> gpus.Gpu | None:
    """Return the GPU that would run an engine: the first, which CUDA takes too."""
    if not found:
        return None
    able = targets(runtime) if names_targets(runtime) else None
    first = found[0]
    fits = first.capability >= _LEAST if able is None else first.capability in able
    return first if fits else None


def _reason(kind: Kind, found: tuple[gpus.Gpu, ...], fit: gpus.Gpu | None) -> str:
    if fit is not None:
        return f"runs on {fit}"
    gap = f"{found[0]} is none of its GPUs" if found else "no NVIDIA GPU is visible"
    if names_targets(kind.runtime):
        return f"builds for GPUs elsewhere: {gap}"
    return f"it builds and runs on NVIDIA GPUs only: {gap}"


def _precisions(runtime: ModuleType, fit: gpus.Gpu | None) -> tuple[Precision, ...]:
    """Return what can be built: for GPUs elsewhere all, for this one what it computes."""
    if names_targets(runtime) or fit is None:
        return tuple(GRAPHS)
    return tuple(each for each in GRAPHS if fit.capability >= _LEAST_OF.get(each, _LEAST))


def options_for(kind: Kind, precision: Precision) -> dict[str, str | bool]:
    """Return by name the options that make the fastest engine of ``precision``.

    An FP32 engine computes in FP32. Where the older GPUs lack the type, TensorRT-RTX builds for the
    others alone.
    """
    found: dict[str, str | bool] = {"tf32": precision != "fp32"}
    if precision in CALIBRATED:
        found["remainder"] = "fp16"
    least = _LEAST_OF.get(precision, _LEAST)
    if names_targets(kind.runtime) and least > PORTABLE_LEAST:
        able = (each for each in targets(kind.runtime) if each >= least)
        found["compute_capabilities"] = ",".join(f"{major}.{minor}" for major, minor in able)
    return found
