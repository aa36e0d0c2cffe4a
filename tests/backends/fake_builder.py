"""TensorRT's builder, recorded: what the building process sets is written down.

Names are those of the real bindings, which test_nvinfer_child.py holds them to.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

SHAPE = (-1, 3, 64, 64)


class Severity(enum.Enum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    VERBOSE = 4


class ProfilingVerbosity(enum.Enum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 2


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class HardwareCompatibilityLevel(enum.Enum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class BuilderFlag(enum.Enum):
    WEIGHT_STREAMING = 0
    VERSION_COMPATIBLE = 1
    REFIT = 2
    TF32 = 3


class WeaklyTypedBuilderFlag(enum.Enum):
    """That of TensorRT 10, whose networks are weakly typed unless they are told otherwise."""

    FP16 = 0
    TF32 = 3


class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class ILogger:
    def log(self, severity: Severity, msg: str) -> None:
        raise AssertionError("the runtime calls the subclass")


@dataclass
class ITimingCache:
    data: bytes

    def serialize(self) -> bytes:
        return self.data + b"+timed"


@dataclass
class IBuilderConfig:
    world: World
    profiling_verbosity: ProfilingVerbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
    builder_optimization_level: int = 3
    hardware_compatibility_level: HardwareCompatibilityLevel = HardwareCompatibilityLevel.NONE
    flags: list[BuilderFlag] = field(default_factory=lambda: [BuilderFlag.TF32])
    limits: dict[MemoryPoolType, int] = field(default_factory=dict)
    profiles: list[IOptimizationProfile] = field(default_factory=list)

    def set_flag(self, flag: BuilderFlag) -> None:
        self.flags.append(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags = [each for each in self.flags if each.name != flag.name]

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.limits[pool] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if "profile" in self.world.refuses:
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        return None if "cache" in self.world.refuses else ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        return "mismatch" not in self.world.refuses


@dataclass
class IOptimizationProfile:
    shapes: dict[str, tuple[Any, Any, Any]] = field(default_factory=dict)

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:  # noqa: A002
        self.shapes[input] = (min, opt, max)


@dataclass
class ITensor:
    name: str = "images"
    shape: tuple[int, ...] = SHAPE


@dataclass
class INetworkDefinition:
    flags: int
    tensor: ITensor = field(default_factory=ITensor)
    num_inputs: int = 1

    def get_input(self, index: int) -> ITensor:
        return self.tensor


@dataclass
class World:
    """What was built last, and what fails: "start", "parse", "profile", "cache", "build"."""

    refuses: frozenset[str] = frozenset()
    network: INetworkDefinition | None = None
    config: IBuilderConfig | None = None


class Builder:
    world: World

    def __init__(self, logger: Any) -> None:
        if "start" in self.world.refuses:
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags: int) -> INetworkDefinition:
        self.world.network = INetworkDefinition(flags)
        return self.world.network

    def create_builder_config(self) -> IBuilderConfig:
        self.world.config = IBuilderConfig(self.world)
        return self.world.config

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> bytes | None:
        self._logger.log(Severity.WARNING, "slow")
        self._logger.log(Severity.VERBOSE, "Layers:\nName: a")
        if "build" in self.world.refuses:
            self._logger.log(Severity.ERROR, "no such kernel")
            return None
        return b"plan"


class ParserError:
    def node_name(self) -> str:
        return "odd"

    def node_operator(self) -> str:
        return "Strange"

    def desc(self) -> str:
        return "Plugin not found"


class OnnxParser:
    world: World
    num_errors = 1

    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        pass

    def parse_from_file(self, model: str) -> bool:
        return "parse" not in self.world.refuses

    def get_error(self, index: int) -> ParserError:
        return ParserError()


def runtime(world: World, *, weakly_typed: bool = False) -> ModuleType:
    """Return a module that looks like TensorRT, or like TensorRT 10."""
    module = ModuleType("fake_tensorrt")
    for each in (
        ILogger,
        ProfilingVerbosity,
        MemoryPoolType,
        HardwareCompatibilityLevel,
        NetworkDefinitionCreationFlag,
        IBuilderConfig,
        IOptimizationProfile,
        ITimingCache,
        INetworkDefinition,
    ):
        setattr(module, each.__name__, each)
    for each in (Builder, OnnxParser):
        setattr(module, each.__name__, type(each.__name__, (each,), {"world": world}))
    vars(module)["BuilderFlag"] = WeaklyTypedBuilderFlag if weakly_typed else BuilderFlag
    vars(module)["__version__"] = "11.4.0"
    return module
