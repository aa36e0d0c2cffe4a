"""The building process: ``python -m tresnet_deploy.backends._nvinfer_child REQUEST.json PARENT``.

A process of its own for each build, because a build that failed changes the next one in the same
process, some faults abort the process, and a process has one logger. It answers in a file that
appears whole, or dies without one.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from tresnet_deploy.artifacts import from_json, to_json, write_whole
from tresnet_deploy.backends import _nvinfer_inspector
from tresnet_deploy.backends._nvinfer_options import HardwareLevel, names_targets
from tresnet_deploy.backends._nvinfer_request import Range, Reply, Request
from tresnet_deploy.errors import DeployError

_STATUS: Final = Path("/proc/self/status")
_KIB_PER_MIB: Final = 1024
_BYTES_PER_MIB: Final = 2**20
_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG, prctl(2)
_LAYERS: Final = "Layers:"
_ERRORS: Final = ("INTERNAL_ERROR", "ERROR")
_HARDWARE: Final[dict[HardwareLevel, str]] = {
    "ampere+": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}


@dataclass(slots=True)
class _Heard:
    """What the runtime has said, as far as somebody may want to read it."""

    words: dict[str, None] = field(default_factory=dict)
    warnings: dict[str, None] = field(default_factory=dict)
    layers: str | None = None

    def add(self, severity: str, message: str) -> None:
        """Keep errors and warnings once each, and the text on the layers."""
        if severity in _ERRORS:
            self.words[message.strip()] = None
        elif severity == "WARNING":
            self.warnings[message.strip()] = None
        elif message.startswith(_LAYERS):
            self.layers = message


class _RefusedError(Exception):
    """The runtime refused a step, saying why in its log or not at all."""


def main(arguments: list[str]) -> int:
    """Build as the file named by the first argument asks; the answer says how it went.

    The second argument is the process that waits for it.
    """
    if not _dies_with(int(arguments[1])):
        return 1
    request = from_json(Path(arguments[0]).read_bytes(), Request, name=arguments[0])
    reply = build(importlib.import_module(request.runtime), request)
    write_whole(Path(request.reply), to_json(reply))
    return 0


def build(runtime: ModuleType, request: Request) -> Reply:
    """Return how the build went; a good one has written ``request.engine``."""
    started = time.monotonic()
    heard = _Heard()
    stage = ["start"]
    error, number = None, None
    try:
        _build(runtime, request, heard, stage.append)
    except _RefusedError as refusal:
        error = str(refusal)
    except OSError as trouble:
        error, number = trouble.strerror or str(trouble), trouble.errno
        Path(request.engine).unlink(missing_ok=True)  # a full disk has no room for the answer else
    return Reply(
        stage=stage[-1],
        version=runtime.__version__,
        error=error,
        os_errno=number,
        words=tuple(heard.words),
        warnings=tuple(heard.warnings),
        layers=heard.layers,
        seconds=round(time.monotonic() - started, 2),
        peak_mib=_peak_mib(),
    )


def _build(
    runtime: ModuleType, request: Request, heard: _Heard, reached: Callable[[str], None]
) -> None:
    log = _logger(runtime, heard)
    # The constructor raises a TypeError where CUDA does not start: pybind11's word for a nullptr.
    try:
        builder = runtime.Builder(log)
    except TypeError as error:
        raise _RefusedError(f"the builder does not start: {error}") from error
    reached("parse")
    network = builder.create_network(_typing(runtime) | _plugins(runtime, request))
    parser = runtime.OnnxParser(network, log)
    if not parser.parse_from_file(request.graph):
        if parser.num_errors:
            heard.words.clear()  # its log says the same with a dump of the node
        for index in range(parser.num_errors):
            heard.add("ERROR", _in_words(parser.get_error(index)))
        raise _RefusedError("the parser refuses the graph")
    reached("configure")
    config = builder.create_builder_config()
    _configure(runtime, config, request)
    _shape(builder, network, config, request.profiles)
    cache = _timing_cache(config, request.timing_cache) if request.new_timing_cache else None
    reached("build")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise _RefusedError("the builder returns no engine")
    reached("write")
    with Path(request.engine).open("wb") as file:
        file.write(memoryview(plan))
    if cache is not None:
        Path(request.new_timing_cache).write_bytes(memoryview(cache.serialize()))
    if heard.layers is None and not names_targets(runtime):  # that one told, or cannot load here
        heard.layers = _nvinfer_inspector.layers_of(runtime, log, plan)
    reached("done")


def _logger(runtime: ModuleType, heard: _Heard) -> Any:
    class Log(runtime.ILogger):  # type: ignore[misc, name-defined]  # known at run time only
        def log(self, severity: Any, message: str) -> None:
            heard.add(severity.name, message)

    return Log()


def _typing(runtime: ModuleType) -> int:
    """Return the flags of a strongly typed network, which is the only kind where no type is set."""
    if hasattr(runtime.BuilderFlag, "FP16"):
        return 1 << int(runtime.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    return 0


def _plugins(runtime: ModuleType, request: Request) -> int:
    """Register our plugins if the graph asks for them; return the network's flags for them."""
    if not request.plugins:
        return 0
    from tresnet_deploy.backends import _nvinfer_plugins  # with onnx, which no other build needs

    try:
        return _nvinfer_plugins.register(runtime, request.hardware_compatible)
    except DeployError as error:
        raise _RefusedError(f"the plugins cannot be registered: {error.message}") from error


def _in_words(error: Any) -> str:
    """Return what the parser has against a node, and which one it is."""
    name, operator = error.node_name(), error.node_operator()
    where = f"{name} ({operator}): " if name or operator else ""
    return f"{where}{error.desc()}"


def _configure(runtime: ModuleType, config: Any, request: Request) -> None:
    config.profiling_verbosity = runtime.ProfilingVerbosity.DETAILED
    if request.workspace_mib:
        pool = runtime.MemoryPoolType.WORKSPACE
        config.set_memory_pool_limit(pool, request.workspace_mib * _BYTES_PER_MIB)
    if request.optimization_level is not None:
        config.builder_optimization_level = request.optimization_level
    if request.hardware_compatible != "none":
        level = _HARDWARE[request.hardware_compatible]
        config.hardware_compatibility_level = runtime.HardwareCompatibilityLevel.__members__[level]
    if not request.tf32:
        config.clear_flag(runtime.BuilderFlag.TF32)
    flags = {
        "WEIGHT_STREAMING": request.weight_streaming,
        "VERSION_COMPATIBLE": request.version_compatible,
        "REFIT": request.refit,
    }
    for name in (name for name, wanted in flags.items() if wanted):
        config.set_flag(runtime.BuilderFlag.__members__[name])
    if names_targets(runtime) and request.capabilities:
        _set_targets(runtime, config, request)


def _set_targets(runtime: ModuleType, config: Any, request: Request) -> None:
    config.num_compute_capabilities = len(request.capabilities)
    for index, (major, minor) in enumerate(request.capabilities):
        target = runtime.ComputeCapability.__members__[f"SM{major}{minor}"]
        if not config.set_compute_capability(target, index):
            raise _RefusedError(f"compute capability {major}.{minor} is refused")


def _shape(
    builder: Any, network: Any, config: Any, profiles: tuple[tuple[Range, ...], ...]
) -> None:
    """Make the inputs static, or give the builder the ranges that they take."""
    if len(profiles) == 1 and all(each.fixed for each in profiles[0]):
        by_name = {each.tensor: each for each in profiles[0]}
        for index in range(network.num_inputs):
            tensor = network.get_input(index)
            tensor.shape = by_name[tensor.name].opt
        return
    for ranges in profiles:
        profile = builder.create_optimization_profile()
        for each in ranges:
            profile.set_shape(each.tensor, each.min, each.opt, each.max)
        if config.add_optimization_profile(profile) < 0:
            listed = ", ".join(f"{each.tensor} {each.min} to {each.max}" for each in ranges)
            raise _RefusedError(f"the profile {listed} is refused")


def _timing_cache(config: Any, path: str) -> Any:
    """Return the cache in ``path``, or an empty one, after giving it to the builder."""
    file = Path(path)
    held = file.read_bytes() if file.is_file() else b""
    cache = config.create_timing_cache(held)
    if cache is None or not config.set_timing_cache(cache, False):
        raise _RefusedError(
            f"{path} is no timing cache of this version and GPU: name another file, or delete it"
        )
    return cache


def _peak_mib() -> int:
    """Return the largest memory that this process has held; 0 where the system does not tell."""
    try:
        rows = _STATUS.read_text("utf-8").splitlines()
    except OSError:
        return 0
    peaks = [int(row.split()[1]) for row in rows if row.startswith("VmHWM:")]
    return peaks[0] // _KIB_PER_MIB if peaks else 0


def _dies_with(parent: int) -> bool:
    """Ask Linux to end this process with the one that waits for it: nobody else would.

    False where that one has ended already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    return os.getppid() == parent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
