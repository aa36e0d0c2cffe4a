"""TensorRT's runtime and CUDA, recorded: what is called is written down, what runs is NumPy.

The engine doubles its input and adds up each image. Memory is a dictionary from addresses to bytes,
so a wrong address, a missing copy or a wrong shape shows in the numbers. Names and parameters are
those of the real bindings; test_nvinfer_surface.py holds them to it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from tresnet_deploy.contracts import Array
from tresnet_deploy.errors import RunError

MIB = 2**20
CLASSES = 5


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    UINT8 = 5
    BF16 = 7


class TensorIOMode(enum.Enum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class TensorFormat(enum.Enum):
    LINEAR = 0
    CHW32 = 5


class TensorLocation(enum.Enum):
    DEVICE = 0
    HOST = 1


class CudaGraphStrategy(enum.Enum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class DynamicShapesKernelSpecializationStrategy(enum.Enum):
    LAZY = 0
    EAGER = 1
    NONE = 2


@dataclass
class Plan:
    """What a fake plan holds, and where the runtime shall fail.

    ``refuses`` are names of calls that return what means failure, with a line in the log.
    """

    profiles: tuple[tuple[int, int, int], ...] = ((1, 4, 8),)
    image: tuple[int, ...] = (3, 4, 4)
    static: int | None = None
    dtype: DataType = DataType.FLOAT
    layout: TensorFormat = TensorFormat.LINEAR
    location: TensorLocation = TensorLocation.DEVICE
    streamable: int = 0
    budget_sticks: bool = True
    has_config: bool = True
    refuses: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    cache: bytes = b"kernels"


@dataclass
class World:
    """Everything that happened, in order, and the memory of the device."""

    plan: Plan = field(default_factory=Plan)
    calls: list[str] = field(default_factory=list)
    memory: dict[int, bytearray] = field(default_factory=dict)
    host: dict[int, Array] = field(default_factory=dict)
    free_mib: float = 1000.0
    logger: Any = None
    capturing: list[Any] | None = None
    runs: int = 0

    def note(self, text: str) -> None:
        self.calls.append(text)

    def says(self, name: str, value: Any, refusal: Any = False) -> Any:
        """Return ``value``; or ``refusal``, with a log line, where the plan refuses ``name``."""
        if name not in self.plan.refuses:
            return value
        self.logger.log(Severity.WARNING, "this GPU is hot")
        self.logger.log(Severity.ERROR, f"Error Code 3: {name} is not possible")
        return refusal

    def clear(self) -> None:
        self.calls.clear()


class FakeCuda:
    """The Cuda protocol over NumPy. A capture keeps what is queued instead of running it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._next = 0x1000
        self._time = 0.0
        self._times: dict[int, float] = {}
        self.fails_at = ""

    def _new(self) -> int:
        self._next += 0x1000
        return self._next

    def _note(self, text: str) -> None:
        self.world.note(text)
        if self.fails_at and text.startswith(self.fails_at):
            raise RunError(f"CUDA failed: {text}")

    def allocate(self, size: int) -> int:
        self._note(f"allocate {size}")
        address = self._new()
        self.world.memory[address] = bytearray(size)
        self.world.free_mib -= 1
        return address

    def free(self, address: int) -> None:
        self._note("free")
        del self.world.memory[address]
        self.world.free_mib += 1

    def pinned(self, shape: tuple[int, ...], dtype: str) -> Array:
        self._note(f"pinned {shape} {dtype}")
        array = np.full(shape, 7, dtype)
        self.world.host[array.ctypes.data] = array
        return array

    def free_pinned(self, array: Array) -> None:
        self._note("free pinned")
        del self.world.host[array.ctypes.data]

    def to_device(self, address: int, array: Array, stream: int) -> None:
        self._note("H2D")
        assert array.ctypes.data in self.world.host
        self.world.memory[address][: array.nbytes] = array.tobytes()

    def to_host(self, array: Array, address: int, stream: int) -> None:
        self._note("D2H")
        assert array.ctypes.data in self.world.host
        raw = bytes(self.world.memory[address][: array.nbytes])
        array[...] = np.frombuffer(raw, array.dtype).reshape(array.shape)

    def stream(self) -> int:
        self._note("stream")
        return self._new()

    def number_of(self, stream: int) -> int:
        return stream

    def synchronize(self, stream: int) -> None:
        self._note("synchronize")

    def destroy_stream(self, stream: int) -> None:
        self._note("destroy stream")

    def event(self) -> int:
        self._note("event")
        return self._new()

    def record(self, event: int, stream: int) -> None:
        self._note("record")
        self._time += 1.5
        self._times[event] = self._time

    def elapsed_ms(self, start: int, end: int) -> float:
        return self._times[end] - self._times[start]

    def destroy_event(self, event: int) -> None:
        self._note("destroy event")

    def begin_capture(self, stream: int) -> None:
        self._note("begin capture")
        self.world.capturing = []

    def end_capture(self, stream: int) -> list[Any]:
        self._note("end capture")
        graph, self.world.capturing = self.world.capturing, None
        assert graph is not None
        return graph

    def launch(self, graph: list[Any], stream: int) -> None:
        self._note("launch")
        for work in graph:
            work()

    def destroy_graph(self, graph: list[Any]) -> None:
        self._note("destroy graph")

    def free_mib(self) -> float:
        return self.world.free_mib

    def gpu_id(self) -> str:
        return "00000000:01:00.0"


class ILogger:
    def log(self, severity: Severity, msg: str) -> None:
        raise AssertionError("the session's own logger is called")


class IHostMemory:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bytes__(self) -> bytes:
        return self._data


class IRuntimeCache:
    def __init__(self, world: World) -> None:
        self._world = world

    def deserialize(self, blob: bytes) -> bool:
        self._world.note(f"cache.deserialize {blob!r}")
        return bool(self._world.says("deserialize", True))

    def serialize(self) -> IHostMemory | None:
        self._world.note("cache.serialize")
        made: IHostMemory | None = self._world.says(
            "serialize", IHostMemory(self._world.plan.cache), None
        )
        return made

    def reset(self) -> bool:
        self._world.note("cache.reset")
        return True


class IRuntimeConfig:
    def __init__(self, world: World) -> None:
        self._world = world


class RtxRuntimeConfig(IRuntimeConfig):
    """What only TensorRT-RTX's configuration has."""

    cuda_graph_strategy = CudaGraphStrategy.DISABLED
    dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def create_runtime_cache(self) -> IRuntimeCache | None:
        cache = IRuntimeCache(self._world)
        made: IRuntimeCache | None = self._world.says("create_runtime_cache", cache, None)
        return made

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self._world.note("config.set_runtime_cache")
        return bool(self._world.says("set_runtime_cache", True))


class IExecutionContext:
    def __init__(self, world: World) -> None:
        self._world = world
        self.active_optimization_profile = 0
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def _done(self, name: str, what: str = "") -> bool:
        self._world.note(f"{name} {what}".strip())
        return bool(self._world.says(name, True))

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        self.active_optimization_profile = profile_index
        return self._done("set_optimization_profile_async", str(profile_index))

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shapes[name] = shape
        return self._done("set_input_shape", f"{name} {shape}")

    def infer_shapes(self) -> list[str]:
        self._world.note("infer_shapes")
        return list(self._world.plan.missing)

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        batch = self._shapes["images"][0]
        sizes: tuple[int, ...] = self._world.says("get_tensor_shape", (batch, CLASSES), (batch, -1))
        return sizes

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert memory in self._world.memory
        self._addresses[name] = memory
        return self._done("set_tensor_address", name)

    def execute_async_v3(self, stream_handle: int) -> bool:
        if self._world.capturing is not None:
            self._world.note("execute_async_v3 captured")
            self._world.capturing.append(self._compute)
            return bool(self._world.says("capture", True))
        self._compute()
        return self._done("execute_async_v3")

    def _compute(self) -> None:
        world, shape = self._world, self._shapes["images"]
        dtype = {DataType.FLOAT: np.float32, DataType.UINT8: np.uint8}[world.plan.dtype]
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = bytes(world.memory[self._addresses["images"]][:size])
        images = np.frombuffer(raw, dtype).reshape(shape[0], -1)
        answer = expected(images).tobytes()
        world.memory[self._addresses["logits"]][: len(answer)] = answer
        world.runs += 1


def expected(images: Array) -> Array:
    """Return what the fake network computes: (N, ...) to (N, CLASSES)."""
    flat = images.reshape(len(images), -1).astype(np.float32)
    return flat.sum(1, keepdims=True) * 2 + np.arange(CLASSES, dtype=np.float32)


class ICudaEngine:
    num_io_tensors = 2

    def __init__(self, world: World, config: type[IRuntimeConfig]) -> None:
        self._world = world
        self._config = config
        self.num_optimization_profiles = len(world.plan.profiles)
        self.streamable_weights_size = world.plan.streamable
        self._budget = world.plan.streamable

    @property
    def weight_streaming_budget_v2(self) -> int:
        return self._budget

    @weight_streaming_budget_v2.setter
    def weight_streaming_budget_v2(self, size: int) -> None:
        self._world.note(f"weight_streaming_budget_v2 = {size // MIB} MiB")
        if self._world.plan.budget_sticks:
            self._budget = size

    def get_weight_streaming_automatic_budget(self) -> int:
        return self._world.plan.streamable // 2

    def __getattribute__(self, name: str) -> Any:
        """Have no configurations where the plan says so, as TensorRT before 10.9."""
        if name == "create_runtime_config" and not self._world.plan.has_config:
            raise AttributeError(name)
        return super().__getattribute__(name)

    def create_runtime_config(self) -> IRuntimeConfig | None:
        self._world.note("create_runtime_config")
        config = self._config(self._world)
        made: IRuntimeConfig | None = self._world.says("create_runtime_config", config, None)
        return made

    def create_execution_context(
        self, runtime_config: IRuntimeConfig | None = None
    ) -> IExecutionContext | None:
        self._world.note("create_execution_context")
        if isinstance(runtime_config, RtxRuntimeConfig):
            strategy = runtime_config.dynamic_shapes_kernel_specialization_strategy
            self._world.note(f"with {runtime_config.cuda_graph_strategy.name} {strategy.name}")
        context = IExecutionContext(self._world)
        made: IExecutionContext | None = self._world.says("create_execution_context", context, None)
        return made

    def get_tensor_name(self, index: int) -> str:
        return ("images", "logits")[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name == "images" else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        return self._world.plan.dtype if name == "images" else DataType.FLOAT

    def get_tensor_format(self, name: str) -> TensorFormat:
        return self._world.plan.layout

    def get_tensor_location(self, name: str) -> TensorLocation:
        return self._world.plan.location

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        batch = -1 if self._world.plan.static is None else self._world.plan.static
        return (batch, *self._world.plan.image) if name == "images" else (batch, CLASSES)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        sizes = self._world.plan.profiles[profile_index]
        return [(size, *self._world.plan.image) for size in sizes]


class Runtime:
    world: World
    config: type[IRuntimeConfig]

    def __init__(self, logger: ILogger) -> None:
        self.world.logger = self.world.logger or logger  # the first of a process stays
        if "Runtime" in self.world.plan.refuses:
            self.world.says("Runtime", True)
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        self.world.note("deserialize_cuda_engine")
        engine = ICudaEngine(self.world, self.config)
        made: ICudaEngine | None = self.world.says("deserialize_cuda_engine", engine, None)
        return made


COMMON = (
    DataType,
    ICudaEngine,
    IExecutionContext,
    IHostMemory,
    ILogger,
    IRuntimeConfig,
    Runtime,
    TensorFormat,
    TensorIOMode,
    TensorLocation,
)
ONLY_RTX = (CudaGraphStrategy, DynamicShapesKernelSpecializationStrategy, IRuntimeCache)


def make_runtime(world: World, kind: str = "tensorrt") -> ModuleType:
    """Return a module that looks like ``kind`` to whoever asks what it can do."""
    module = ModuleType(kind)
    rtx = kind == "tensorrt_rtx"
    for each in COMMON + (ONLY_RTX if rtx else ()):
        setattr(module, each.__name__, each)
    config = RtxRuntimeConfig if rtx else IRuntimeConfig
    contents = {
        "Runtime": type("Runtime", (Runtime,), {"world": world, "config": config}),
        "__version__": "1.7.1" if rtx else "11.4.0",
    }
    if rtx:
        contents["ComputeCapability"] = enum.Enum("ComputeCapability", ["SM86"])
    for name, value in contents.items():
        setattr(module, name, value)
    return module
