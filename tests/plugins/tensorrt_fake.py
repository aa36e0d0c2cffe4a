"""A recording stand-in for ``tensorrt`` and ``tensorrt.plugin``, and symbolic sizes to plan with.

The decorators check what TensorRT 11.4's own do (tensorrt_bindings/plugin/_validate.py): the order
and names of parameters, and annotations that are its classes. ``bench/plugin_registration.py`` runs
the real ones over the bindings wheel.
"""

import enum
import inspect
import sys
from collections.abc import Callable, Mapping
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Symbol:
    """A size that is known when the engine runs: a function of the sizes of the input."""

    def __init__(self, value: Callable[[Mapping[str, int]], int], *, constant: bool) -> None:
        self.value, self.is_constant = value, constant

    @classmethod
    def of(cls, size: "Symbol | int | str") -> "Symbol":
        if isinstance(size, Symbol):
            return size
        if isinstance(size, str):
            return cls(lambda sizes: sizes[size], constant=False)
        return cls(lambda _: size, constant=True)

    def _join(self, other: "Symbol | int", operation: Callable[[int, int], int]) -> "Symbol":
        right = Symbol.of(other)
        return Symbol(
            lambda sizes: operation(self.value(sizes), right.value(sizes)),
            constant=self.is_constant and right.is_constant,
        )

    def __add__(self, other: "Symbol | int") -> "Symbol":
        return self._join(other, int.__add__)

    def __mul__(self, other: "Symbol | int") -> "Symbol":
        return self._join(other, int.__mul__)

    def __floordiv__(self, other: "Symbol | int") -> "Symbol":
        return self._join(other, int.__floordiv__)

    def constant_value(self) -> int:
        assert self.is_constant
        return self.value({})


class DataType(enum.Enum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BF16 = 7


class TensorFormat(enum.Enum):
    LINEAR = 0
    HWC8 = 2
    HWC = 8


class DimensionOperation(enum.Enum):
    PROD = 1
    CEIL_DIV = 5
    FLOOR_DIV = 4


class TensorDesc:
    def __init__(self, shape_expr: tuple[Any, ...], dtype: DataType) -> None:
        self.shape_expr = tuple(Symbol.of(size) for size in shape_expr)
        self.dtype = dtype
        self.format = TensorFormat.LINEAR


class Tensor:
    def __init__(self, shape: tuple[int, ...], dtype: DataType, data_ptr: int) -> None:
        self.shape, self.dtype, self.data_ptr = shape, dtype, data_ptr
        self.format = TensorFormat.LINEAR


class KernelLaunchParams:
    __slots__ = ("block_x", "block_y", "block_z", "grid_x", "grid_y", "grid_z", "shared_mem")


class SymIntExprs(list):
    def __init__(self, length: int) -> None:
        super().__init__([None] * length)


class AutoTuneCombination:
    def __init__(self, io_types: str, layouts: str) -> None:
        self.io_types, self.layouts = io_types, layouts


class QuickPlugins(ModuleType):
    """``tensorrt.plugin``: keeps what was registered by operator and decorator."""

    TensorDesc, Tensor = TensorDesc, Tensor
    KernelLaunchParams, SymIntExprs = KernelLaunchParams, SymIntExprs
    AutoTuneCombination = AutoTuneCombination
    SymInt32 = staticmethod(Symbol.of)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.found: dict[str, SimpleNamespace] = {}
        self.op = SimpleNamespace()

    @staticmethod
    def from_shape_expr(shape: tuple[Any, ...], dtype: DataType) -> TensorDesc:
        return TensorDesc(shape, dtype)

    @staticmethod
    def cdiv(first: Symbol, second: int) -> Symbol:
        return first._join(second, lambda a, b: -(-a // b))

    def register(self, plugin_id: str) -> Callable[..., Any]:
        def decorate(function: Any) -> Any:
            signature = inspect.signature(function)
            kinds = [parameter.annotation for parameter in signature.parameters.values()]
            tensors = kinds.count(TensorDesc)
            assert kinds[:tensors] == [TensorDesc] * tensors, "tensors come first"
            assert set(kinds[tensors:]) <= {int, float, str, bool, bytes}
            assert signature.return_annotation is TensorDesc
            assert plugin_id not in self.found
            namespace, _, operator = plugin_id.partition("::")
            known = vars(self.op).setdefault(namespace, SimpleNamespace())
            setattr(known, operator, function)
            names = list(signature.parameters)
            self.found[plugin_id] = SimpleNamespace(
                describe=function, names=names, tensors=names[:tensors], kinds=kinds
            )
            return function

        return decorate

    def _known(self, plugin_id: str, kind: str, extra: tuple[str, ...], tensor: type, result: Any):
        def decorate(function: Any) -> Any:
            record = self.found[plugin_id]
            signature = inspect.signature(function)
            assert list(signature.parameters) == [*record.names, *extra], signature
            annotations = [each.annotation for each in signature.parameters.values()]
            attributes = record.kinds[len(record.tensors) :]
            assert annotations[: len(record.names)] == [
                *([tensor] * len(record.tensors)),
                *attributes,
            ]
            assert annotations[len(record.names)] == tuple[tensor]
            assert signature.return_annotation == result
            setattr(record, kind, function)
            return function

        return decorate

    def autotune(self, plugin_id: str) -> Callable[..., Any]:
        result = list[AutoTuneCombination]
        return self._known(plugin_id, "autotune", ("outputs",), TensorDesc, result)

    def aot_impl(self, plugin_id: str) -> Callable[..., Any]:
        result = tuple[str, str, KernelLaunchParams, SymIntExprs]
        return self._known(plugin_id, "aot", ("outputs", "tactic"), TensorDesc, result)

    def impl(self, plugin_id: str) -> Callable[..., Any]:
        return self._known(plugin_id, "jit", ("outputs", "stream"), Tensor, None)


class Registry:
    def __init__(self) -> None:
        self.creators: dict[tuple[str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str) -> bool:
        self.creators[namespace, creator.name] = creator
        return True


class Base:
    """Any interface that a plugin derives from."""


class PluginField:
    def __init__(self, name: str, data: Any, type: Any) -> None:  # noqa: A002
        self.name, self.data, self.type = name, data, type


class ExpressionBuilder:
    """Makes sizes as TensorRT's does, one operation at a time."""

    @staticmethod
    def constant(value: int) -> Symbol:
        return Symbol.of(value)

    @staticmethod
    def operation(kind: DimensionOperation, first: Symbol, second: Symbol) -> Symbol:
        by = {
            DimensionOperation.PROD: int.__mul__,
            DimensionOperation.FLOOR_DIV: int.__floordiv__,
            DimensionOperation.CEIL_DIV: lambda a, b: -(-a // b),
        }
        return first._join(second, by[kind])


def runtime(monkeypatch: pytest.MonkeyPatch, *, quick: bool = True, plugins: bool = True) -> Any:
    """Install a fake runtime called tensorrt_fake; without ``quick`` it has IPluginV3 only."""
    module: Any = ModuleType("tensorrt_fake")
    network = type("INetworkDefinition", (), {"add_plugin_v3": None} if plugins else {})
    registry = Registry()
    interfaces = ("IPluginV3", "IPluginV3OneCore", "IPluginV3OneBuild", "IPluginV3OneRuntime")
    members = {name: type(name, (Base,), {}) for name in (*interfaces, "IPluginCreatorV3One")}
    members |= {
        "INetworkDefinition": network,
        "DataType": DataType,
        "TensorFormat": TensorFormat,
        "DimensionOperation": DimensionOperation,
        "DimsExprs": list,
        "PluginField": PluginField,
        "PluginFieldCollection": list,
        "PluginFieldType": SimpleNamespace(INT32="INT32", FLOAT32="FLOAT32"),
        "get_plugin_registry": lambda: registry,
    }
    for name, member in members.items():
        setattr(module, name, member)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    if quick:
        module.QuickPluginCreationRequest = enum.Enum("QuickPluginCreationRequest", "PREFER_AOT")
        module.plugin = QuickPlugins("tensorrt_fake.plugin")
        monkeypatch.setitem(sys.modules, "tensorrt_fake.plugin", module.plugin)
    return module
