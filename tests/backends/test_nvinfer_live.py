"""The installed TensorRT-RTX refuses what is no plan, in its own words; that needs no GPU."""

from __future__ import annotations

import importlib
import struct
from types import ModuleType

import pytest

from tresnet_deploy.backends._nvinfer_engine import LoadedEngine
from tresnet_deploy.backends._nvinfer_log import log_of
from tresnet_deploy.errors import RunError

from .test_nvinfer_session import RunOptions


@pytest.fixture(scope="module")
def runtime() -> ModuleType:
    try:
        return importlib.import_module("tensorrt_rtx")
    except (ImportError, OSError) as error:
        pytest.skip(f"TensorRT-RTX is not installed here: {error}")


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (b"", "empty memory buffer"),
        (b"x", "readHeader"),
        (b"vtrt" + bytes(200), "Error Code"),
        (b"vtrt" + struct.pack("<I", 1) + bytes(60), "Error Code"),
        (b"PK\3\4" + bytes(4096), "Error Code"),
    ],
)
def test_what_is_no_plan_is_refused_in_the_runtimes_own_words(
    runtime: ModuleType, plan: bytes, words: str
) -> None:
    with pytest.raises(RunError, match="cannot load the engine") as caught:
        LoadedEngine(runtime, plan, RunOptions())
    assert words in caught.value.message
    assert f"TensorRT-RTX {runtime.__version__}" in caught.value.message
    assert caught.value.hints == ("tresnet-deploy build-engine --backend tensorrt-rtx --overwrite",)


def test_one_logger_serves_a_process(runtime: ModuleType) -> None:
    assert log_of(runtime) is log_of(runtime)
    assert isinstance(log_of(runtime).logger, runtime.ILogger)
