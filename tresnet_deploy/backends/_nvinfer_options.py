"""The options of NVIDIA's two runtimes: this file is about what they mean and which are refused.

An option that a runtime would ignore, or cannot do on this machine, is refused by name: an engine
that silently lacks what was asked for is found out in production. Which runtime it is, is told by
its abilities, never by its version.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Final, Literal

import msgspec

from tresnet_deploy import gpus
from tresnet_deploy.contracts import Batch

Remainder = Literal["fp32", "fp16", "bf16"]
HardwareLevel = Literal["none", "ampere+", "same-compute-capability"]
Operators = Literal["as-exported", "plugin"]
Capability = tuple[int, int]

LEVELS: Final = 5  # of builder_optimization_level, NVIDIA's documentation of IBuilderConfig
_HOUR_S: Final = 3600
_MOST_MIB: Final = 2**24  # 16 TiB: more is no number of bytes that the builder takes
_CAPABILITY: Final = re.compile(r"(\d{1,2})\.(\d)")
_PROFILE: Final = re.compile(r"(\d{1,6}):(\d{1,6}):(\d{1,6})")
# GPUs that people have and TensorRT-RTX does not build for.
_NO_RTX: Final = {(8, 7): "Jetson Orin", (9, 0): "Hopper", (10, 0): "B200", (10, 3): "B300"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What NVIDIA's builders and runtimes can be asked for; each backend refuses what it lacks.

    ``profiles`` are several ranges of the batch, MIN:OPT:MAX,...; empty: the one that is built for.
    ``operators`` "plugin" builds with our plugins whatever the graph's export said. ``remainder``
    is what an INT8 graph computes in where it has no Q/DQ pairs. ``compute_capabilities``, 8.6,8.9
    and so on, are the GPUs that TensorRT-RTX builds for; empty: all from 8.0. ``workspace_mib`` 0
    and ``optimization_level`` None leave both to the runtime. ``hardware_compatible`` and
    ``version_compatible`` let an engine of TensorRT run on other GPUs and under later versions.
    ``timing_cache`` is a file that TensorRT's timings are kept in, ``runtime_cache`` one for the
    kernels that TensorRT-RTX compiles where it runs. ``refit`` keeps weights replaceable. ``tf32``
    lets what is FP32 in the graph be multiplied with ten bits of mantissa, as both runtimes do
    unless they are told. ``weight_streaming_mib`` of the weights stay on the GPU where weights are
    streamed, 0: as much as the runtime proposes. ``cuda_graph`` replays a step as one launch. A
    build that takes longer than ``timeout_s`` is stopped.
    """

    profiles: str = ""
    remainder: Remainder = "fp32"
    operators: Operators = "as-exported"
    compute_capabilities: str = ""
    workspace_mib: Annotated[int, msgspec.Meta(ge=0, le=_MOST_MIB)] = 0
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=LEVELS)] | None = None
    tf32: bool = False
    weight_streaming: bool = False
    weight_streaming_mib: Annotated[int, msgspec.Meta(ge=0)] = 0
    hardware_compatible: HardwareLevel = "none"
    version_compatible: bool = False
    refit: bool = False
    strip: bool = False
    timing_cache: str = ""
    runtime_cache: str = ""
    cuda_graph: bool = False
    timeout_s: Annotated[int, msgspec.Meta(ge=1)] = _HOUR_S


def names_targets(runtime: ModuleType) -> bool:
    """Return whether ``runtime`` builds for named GPUs, as TensorRT-RTX does, or for its own."""
    return hasattr(runtime, "ComputeCapability")


def check(options: Options, runtime: ModuleType) -> None:
    """Refuse options that ``runtime`` ignores or cannot do here.

    Raises:
        ValueError: with one sentence for each of them; msgspec makes it a ValidationError.
    """
    refusals = [*_refused_anywhere(options)]
    if names_targets(runtime):
        refusals += _refused_by_rtx(options)
        _check_targets(options, runtime)
    else:
        refusals += _refused_by_tensorrt(options)
    if refusals:
        raise ValueError("; ".join(refusals))
    profiles_of(options)


def _refused_anywhere(options: Options) -> Iterator[str]:
    if options.strip:
        yield (
            "strip makes a plan without weights, which nothing here puts back before it runs: leave"
            " it out"
        )
    if options.weight_streaming_mib and not options.weight_streaming:
        yield "weight_streaming_mib is for engines with weight_streaming=true: add it"


def _refused_by_rtx(options: Options) -> Iterator[str]:
    if options.timing_cache:
        yield (
            "timing_cache changes nothing in TensorRT-RTX, which times no kernels while it builds: "
            "leave it out; runtime_cache=FILE keeps the kernels that it compiles where it runs"
        )
    if options.hardware_compatible != "none":
        yield (
            "hardware_compatible is ignored by TensorRT-RTX: name the GPUs with "
            "compute_capabilities=8.6,8.9, or leave both out for all from 8.0"
        )
    if options.version_compatible:
        yield (
            "version_compatible fails in TensorRT-RTX, which ships no lean runtime: build again "
            "for each version"
        )
    if options.optimization_level is not None:
        yield (
            "optimization_level shows no effect in TensorRT-RTX, which chooses kernels where it "
            "runs: leave it out"
        )
    if options.operators == "plugin":
        yield (
            "operators=plugin is for TensorRT, TensorRT-RTX takes no plugins: leave it out, or use "
            "--backend tensorrt"
        )
    if options.refit and not gpus.visible():
        yield "refit needs a GPU while TensorRT-RTX builds, and none is visible: build it there"


def _refused_by_tensorrt(options: Options) -> Iterator[str]:
    if options.compute_capabilities:
        yield (
            "compute_capabilities is for TensorRT-RTX; TensorRT builds for the GPU that it builds "
            "on: use --backend tensorrt-rtx, or hardware_compatible=ampere+"
        )
    if options.runtime_cache:
        yield (
            "runtime_cache is for TensorRT-RTX, which compiles where it runs: timing_cache=FILE "
            "shortens TensorRT's builds"
        )


def _check_targets(options: Options, runtime: ModuleType) -> None:
    known = targets(runtime)
    for wanted in capabilities_of(options):
        if wanted in known:
            continue
        listed = ", ".join(f"{major}.{minor}" for major, minor in known)
        raise ValueError(
            f"compute capability {wanted[0]}.{wanted[1]} is no target of TensorRT-RTX, which "
            f"builds for {listed}{_instead(wanted)}"
        )


def _instead(wanted: Capability) -> str:
    if wanted not in _NO_RTX:
        return ""
    return f"; for {_NO_RTX[wanted]} build with --backend tensorrt, on such a GPU"


def targets(runtime: ModuleType) -> tuple[Capability, ...]:
    """Return the compute capabilities that ``runtime`` can build for, in rising order."""
    found = (re.fullmatch(r"SM(\d+)(\d)", name) for name in runtime.ComputeCapability.__members__)
    return tuple(sorted((int(match[1]), int(match[2])) for match in found if match))


def capabilities_of(options: Options) -> tuple[Capability, ...]:
    """Return the named compute capabilities; empty where all are meant.

    Raises:
        ValueError: the text is no list of them, or one is in it twice.
    """
    found: list[Capability] = []
    for part in filter(None, options.compute_capabilities.split(",")):
        match = _CAPABILITY.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"compute_capabilities {part!r} is no capability such as 8.6")
        capability = (int(match[1]), int(match[2]))
        if capability in found:
            raise ValueError(f"compute_capabilities names {part.strip()} twice")
        found.append(capability)
    return tuple(found)


def profiles_of(options: Options) -> tuple[Batch, ...]:
    """Return the ranges of the batch, in rising order; empty where there is only the engine's own.

    Raises:
        ValueError: a range does not rise, or sizes between two of them belong to none.
    """
    found: list[Batch] = []
    for part in filter(None, options.profiles.split(",")):
        match = _PROFILE.fullmatch(part)
        low, opt, high = (int(size) for size in match.groups()) if match else (0, 0, 0)
        if not 1 <= low <= opt <= high:
            raise ValueError(f"profiles {part!r} is no MIN:OPT:MAX that rises from 1 or more")
        batch = Batch(min=low, opt=opt, max=high)
        if batch in found:
            raise ValueError(f"profiles names {batch} twice")
        found.append(batch)
    found.sort(key=lambda each: each.min)
    reach = found[0].max if found else 0
    for each in found[1:]:
        if each.min > reach + 1:
            raise ValueError(
                f"no profile takes batches of {reach + 1} to {each.min - 1}: let one reach further,"
                f" such as {reach + 1}:{each.opt}:{each.max}"
            )
        reach = max(reach, each.max)
    return tuple(found)
