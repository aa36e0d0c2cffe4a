"""A plan as a context that can run: this file is about loading one with TensorRT or TensorRT-RTX.

The runtime module is an argument; what it can do is asked of its objects, never of its version.
Not run on a GPU yet.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from tresnet_deploy.artifacts import write_whole
from tresnet_deploy.backends._nvinfer_log import Log, log_of
from tresnet_deploy.contracts import TensorSpec
from tresnet_deploy.errors import DeployError, RunError, UsageError

Shape = tuple[int, ...]

_log = logging.getLogger(__name__)
_MIB: Final = 2**20
_DTYPES: Final[Mapping[str, str]] = {  # names of DataType; NumPy has no bf16, fp8 and fp4
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "UINT8": "uint8",
    "BOOL": "bool",
}
_OPEN: Final = -1  # a dimension that the profile decides


class RunOptions(Protocol):
    """What an engine's options say about running it.

    ``runtime_cache`` is the file that TensorRT-RTX keeps its compiled kernels in, "" for none.
    ``weight_streaming`` keeps ``weight_streaming_mib`` of the weights on the GPU and the others on
    the host; 0 is what the runtime proposes.
    """

    @property
    def cuda_graph(self) -> bool:
        """Replay a step as one launch."""

    @property
    def runtime_cache(self) -> str:
        """A file, or nothing."""

    @property
    def weight_streaming(self) -> bool:
        """Keep weights on the host."""

    @property
    def weight_streaming_mib(self) -> int:
        """Of the weights on the GPU."""


class LoadedEngine:
    """A deserialised engine with one execution context."""

    def __init__(self, runtime: ModuleType, plan: bytes, options: RunOptions) -> None:
        """Deserialise ``plan``, which runs native code: it must have been checked before.

        Raises:
            RunError: the runtime refuses the plan, or has too little memory for it.
            UsageError: an option is not one of this runtime.
        """
        self._runtime = runtime
        self.log = log_of(runtime)
        mark = self.log.mark()
        self._loader = _loader(runtime, self.log)
        engine = self._loader.deserialize_cuda_engine(plan)
        if engine is None:
            raise _refused(self.log, mark, runtime)
        self.engine = engine
        if options.weight_streaming:
            self._stream_weights(options.weight_streaming_mib)
        self._cache: Any = None
        self._cache_path = Path(options.runtime_cache) if options.runtime_cache else None
        self._cached = b""
        self.replays_itself = False
        self.context = self._context(options)
        self.inputs, self.outputs = self._specs()

    def _stream_weights(self, mib: int) -> None:
        """Give the weights their budget on the GPU; all of them is the most that makes sense."""
        whole = self.engine.streamable_weights_size
        if whole == 0:
            raise UsageError(
                "the engine was built without weight streaming",
                hints=("build it again with --option weight_streaming=true",),
            )
        proposed = self.engine.get_weight_streaming_automatic_budget()
        budget = min(mib * _MIB, whole) if mib else proposed
        self.engine.weight_streaming_budget_v2 = budget
        set_to = self.engine.weight_streaming_budget_v2
        if set_to != budget:
            raise RunError(
                f"{self.log.title} keeps {set_to // _MIB} MiB of weights on the GPU, not the "
                f"{budget // _MIB} MiB that were asked for"
            )

    def _context(self, options: RunOptions) -> Any:
        mark = self.log.mark()
        if not hasattr(self.engine, "create_runtime_config"):  # TensorRT before 10.9
            made = self.engine.create_execution_context()
        else:
            config = self.engine.create_runtime_config()
            self.log.must(config, "create_runtime_config()", mark=mark)
            self._configure(config, options)
            made = self.engine.create_execution_context(config)
        return self.log.must(made, "create_execution_context()", mark=mark)

    def _configure(self, config: Any, options: RunOptions) -> None:
        if options.cuda_graph and hasattr(config, "cuda_graph_strategy"):
            # It captures by itself, and again when kernels for a new shape are ready.
            config.cuda_graph_strategy = self._runtime.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
            self.replays_itself = True
            if config.cuda_graph_strategy != self._runtime.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE:
                raise RunError(f"{self.log.title} refuses to capture CUDA graphs")
        if hasattr(config, "dynamic_shapes_kernel_specialization_strategy"):
            # Kernels for a shape are compiled when it is first run, not in the background of a
            # measurement.
            strategies = self._runtime.DynamicShapesKernelSpecializationStrategy
            config.dynamic_shapes_kernel_specialization_strategy = strategies.EAGER
        if self._cache_path is not None:
            self._use_cache(config, self._cache_path)

    def _use_cache(self, config: Any, path: Path) -> None:
        if not hasattr(config, "create_runtime_cache"):
            raise UsageError(
                f"runtime_cache is for TensorRT-RTX; {self.log.title} compiles when it builds",
                hints=("build the engine again without --option runtime_cache=...",),
            )
        mark = self.log.mark()
        cache = self.log.must(config.create_runtime_cache(), "create_runtime_cache()", mark=mark)
        self._cached = _bytes_of(path)
        if self._cached and not cache.deserialize(self._cached):  # of another driver, GPU, version
            _log.warning("%s is of no use here and is made anew: %s", path, self.log.reason(mark))
            self.log.must(cache.reset(), "reset() of the runtime cache", mark=mark)
            self._cached = b""
        self.log.must(config.set_runtime_cache(cache), "set_runtime_cache()", mark=mark)
        self._cache = cache

    def close(self) -> None:
        """Write the runtime cache, and drop context, engine and loader, each before its maker."""
        self._save_cache()
        self.context = self._cache = None
        self.engine = None
        self._loader = None

    def _save_cache(self) -> None:
        """Write the kernels that were compiled since, so that the next start needs not.

        A cache that cannot be written costs time, not answers: it is a warning.
        """
        if self._cache is None or self._cache_path is None:
            return
        made = self._cache.serialize()
        kernels = b"" if made is None else bytes(made)
        if not kernels or kernels == self._cached:
            return
        try:
            write_whole(self._cache_path, kernels)
        except (DeployError, OSError) as error:
            _log.warning("the runtime cache %s could not be written: %s", self._cache_path, error)

    def _specs(self) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        modes = [self.engine.get_tensor_mode(name) for name in names]
        specs = [self._spec(name) for name in names]
        wanted = self._runtime.TensorIOMode.INPUT
        pairs = list(zip(specs, modes, strict=True))
        return (
            tuple(spec for spec, mode in pairs if mode == wanted),
            tuple(spec for spec, mode in pairs if mode != wanted),
        )

    def _spec(self, name: str) -> TensorSpec:
        engine = self.engine
        dtype = engine.get_tensor_dtype(name).name
        layout = engine.get_tensor_format(name)
        if dtype not in _DTYPES or layout != self._runtime.TensorFormat.LINEAR:
            raise RunError(
                f"the tensor {name} of the engine is {dtype} in {layout.name} order; only plain "
                f"arrays of {', '.join(_DTYPES)} can be bound"
            )
        if engine.get_tensor_location(name) != self._runtime.TensorLocation.DEVICE:
            raise RunError(f"the engine wants the tensor {name} in host memory: it holds a shape")
        shape = tuple(
            size if size != _OPEN else ("batch" if axis == 0 else f"{name}_{axis}")
            for axis, size in enumerate(engine.get_tensor_shape(name))
        )
        return TensorSpec(name=name, dtype=_DTYPES[dtype], shape=shape)

    def profile_for(self, shapes: Mapping[str, Shape]) -> int:
        """Return the profile that contains ``shapes``, of several the one tuned nearest to them.

        Raises:
            UsageError: none does.
        """
        if all(_OPEN not in tuple(self.engine.get_tensor_shape(name)) for name in shapes):
            return 0
        ranges = [self._range(index, shapes) for index in range(self._profiles)]
        fitting = [index for index, each in enumerate(ranges) if _contains(each, shapes)]
        if not fitting:
            raise _in_no_profile(shapes, ranges)
        return min(fitting, key=lambda index: (_distance(ranges[index], shapes), index))

    @property
    def _profiles(self) -> int:
        return int(self.engine.num_optimization_profiles)

    def _range(self, index: int, names: Mapping[str, Shape]) -> dict[str, tuple[Shape, ...]]:
        found = {name: self.engine.get_tensor_profile_shape(name, index) for name in names}
        return {name: tuple(map(tuple, shapes)) for name, shapes in found.items()}


def _bytes_of(path: Path) -> bytes:
    """Return what a runtime cache holds, nothing where there is none that can be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        _log.warning("the runtime cache %s could not be read: %s", path, error)
        return b""


def _loader(runtime: ModuleType, log: Log) -> Any:
    mark = log.mark()
    try:
        return log.must(runtime.Runtime(log.logger), "Runtime()", mark=mark)
    except (RuntimeError, TypeError) as error:  # how pybind11 reports a null pointer
        raise RunError(f"{log.title} does not start: {log.reason(mark)} ({error})") from error


def _refused(log: Log, mark: int, runtime: ModuleType) -> RunError:
    backend = runtime.__name__.replace("_", "-")
    return RunError(
        f"{log.title} cannot load the engine: {log.reason(mark)}",
        hints=(f"tresnet-deploy build-engine --backend {backend} --overwrite",),
    )


def _contains(ranges: Mapping[str, tuple[Shape, ...]], shapes: Mapping[str, Shape]) -> bool:
    return all(
        low <= size <= high
        for name, shape in shapes.items()
        for low, size, high in zip(ranges[name][0], shape, ranges[name][2], strict=True)
    )


def _distance(ranges: Mapping[str, tuple[Shape, ...]], shapes: Mapping[str, Shape]) -> int:
    """Return how far ``shapes`` are from what a profile is tuned for, in all dimensions."""
    return sum(
        abs(opt - size)
        for name, shape in shapes.items()
        for opt, size in zip(ranges[name][1], shape, strict=True)
    )


def _in_no_profile(
    shapes: Mapping[str, Shape], ranges: list[dict[str, tuple[Shape, ...]]]
) -> UsageError:
    wanted = "; ".join(f"{name} {_text(shape)}" for name, shape in shapes.items())
    known = "; ".join(
        f"{_text(low)} to {_text(high)}" for each in ranges for low, _, high in each.values()
    )
    return UsageError(
        f"no optimisation profile of the engine contains {wanted}; there are: {known}",
        hints=("build it again with a --batch MIN:OPT:MAX that contains it",),
    )


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape))
