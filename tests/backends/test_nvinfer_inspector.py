"""The inspector is asked for JSON of the plan that was built; a runtime that cannot tells nothing.

The stand-in has the names of the real bindings, which an installed TensorRT-RTX is asked for.
"""

from __future__ import annotations

import enum
import importlib
from types import SimpleNamespace
from typing import Any

import pytest

from tresnet_deploy import fusions
from tresnet_deploy.backends import _nvinfer_inspector

JSON = '{"Layers": [{"Name": "conv", "LayerType": "CaskConvolution"}]}'


class LayerInformationFormat(enum.Enum):
    ONELINE = 0
    JSON = 1


class EngineInspector:
    def get_engine_information(self, format: LayerInformationFormat) -> str:  # noqa: A002
        return JSON if format is LayerInformationFormat.JSON else "conv"


class ICudaEngine:
    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()


class Runtime:
    def __init__(self, logger: Any) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        return ICudaEngine() if serialized_engine == b"plan" else None


RUNTIME: Any = SimpleNamespace(Runtime=Runtime, LayerInformationFormat=LayerInformationFormat)


def test_the_kernels_of_a_plan_come_as_json_that_is_understood() -> None:
    told = _nvinfer_inspector.layers_of(RUNTIME, object(), b"plan")
    (kernel,) = fusions.parse(told).kernels
    assert (kernel.name, kernel.kind) == ("conv", "CaskConvolution")


def test_a_plan_that_does_not_load_tells_nothing() -> None:
    assert _nvinfer_inspector.layers_of(RUNTIME, object(), b"other") is None


def test_the_names_are_those_of_the_bindings() -> None:
    rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed")
    assert "JSON" in rtx.LayerInformationFormat.__members__
    for mine in (Runtime, ICudaEngine, EngineInspector):
        real = getattr(importlib.import_module("tensorrt_rtx"), mine.__name__)
        assert all(hasattr(real, name) for name in vars(mine) if not name.startswith("_"))
