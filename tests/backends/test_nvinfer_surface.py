"""The fakes have the names and parameters of NVIDIA's published bindings, and nothing else.

``tensorrt11_surface.json`` was recorded by bench/tensorrt_surface.py from TensorRT's own bindings;
an installed TensorRT-RTX is asked live.
"""

from __future__ import annotations

import enum
import importlib
import importlib.util
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from . import fake_nvinfer
from .fake_nvinfer import COMMON, ONLY_RTX, RtxRuntimeConfig

HERE = Path(__file__).resolve().parent
RECORD = HERE / "tensorrt11_surface.json"
RECORDER = HERE.parents[1] / "bench/tensorrt_surface.py"


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORD.read_text("utf-8"))["classes"]
    return found


@pytest.fixture(scope="module")
def recorder(script: Callable[[Path], ModuleType]) -> ModuleType:
    return script(RECORDER)


@pytest.fixture(scope="module")
def rtx(recorder: ModuleType) -> dict[str, Any]:
    try:
        installed = importlib.import_module("tensorrt_rtx")
    except (ImportError, OSError) as error:
        pytest.skip(f"TensorRT-RTX is not installed here: {error}")
    names = {each.__name__ for each in (*COMMON, *ONLY_RTX)}
    return {name: recorder.described(getattr(installed, name)) for name in names}


def differences(fake: type, real: dict[str, Any]) -> list[str]:
    """Return what ``fake`` has that ``real`` has not, or has with other parameters."""
    if issubclass(fake, enum.Enum):
        return [f"member {each}" for each in fake.__members__ if each not in real["members"]]
    found = []
    for name in (each for each in dir(fake) if not each.startswith("_")):
        value = inspect.getattr_static(fake, name)
        if inspect.isfunction(value):
            own = list(inspect.signature(value).parameters)[1:]
            if own not in real["methods"].get(name, []):
                found.append(f"{name}({', '.join(own)})")
        elif name not in real["properties"]:
            found.append(name)
    return found


@pytest.mark.parametrize("fake", COMMON, ids=lambda each: each.__name__)
def test_the_fake_is_a_part_of_tensorrt_11(fake: type, recorded: dict[str, Any]) -> None:
    assert differences(fake, recorded[fake.__name__]) == []


@pytest.mark.parametrize("fake", [*COMMON, *ONLY_RTX], ids=lambda each: each.__name__)
def test_the_fake_is_a_part_of_tensorrt_rtx(fake: type, rtx: dict[str, Any]) -> None:
    assert differences(fake, rtx[fake.__name__]) == []


def test_what_only_tensorrt_rtx_can_do_is_told_apart_by_names(
    recorded: dict[str, Any], rtx: dict[str, Any]
) -> None:
    assert differences(RtxRuntimeConfig, rtx["IRuntimeConfig"]) == []
    assert set(differences(RtxRuntimeConfig, recorded["IRuntimeConfig"])) == {
        "create_runtime_cache()",
        "set_runtime_cache(cache)",
        "cuda_graph_strategy",
        "dynamic_shapes_kernel_specialization_strategy",
    }


def test_an_instance_of_the_fake_has_no_further_properties(recorded: dict[str, Any]) -> None:
    world = fake_nvinfer.World()
    engine = fake_nvinfer.ICudaEngine(world, fake_nvinfer.IRuntimeConfig)
    context = fake_nvinfer.IExecutionContext(world)
    for instance in (engine, context):
        real = recorded[type(instance).__name__]
        own = {name for name in vars(instance) if not name.startswith("_")}
        assert own <= set(real["properties"])


def test_the_recorder_reads_overloads_and_nested_types(recorder: ModuleType) -> None:
    text = """set_shape(*args, **kwargs)
Overloaded function.

1. set_shape(self: a.B, name: str, shape: tuple[int, ...]) -> bool

2. set_shape(self: a.B, name: str, shape: a.Dims = a.Dims(1, 2)) -> bool
"""
    assert list(recorder.parameters("set_shape", text)) == [["name", "shape"], ["name", "shape"]]
