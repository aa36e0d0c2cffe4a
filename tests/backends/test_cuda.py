"""cuda-python behind the few calls a session needs: against a recording stand-in, and for real."""

from __future__ import annotations

import enum
import importlib
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from tresnet_deploy.backends._cuda import CudaPython, open_cuda
from tresnet_deploy.errors import RunError, UnavailableError

Status = enum.IntEnum(
    "Status",
    {
        "cudaSuccess": 0,
        "cudaErrorMemoryAllocation": 2,
        "cudaErrorInsufficientDriver": 35,
        "cudaErrorIllegalAddress": 700,
    },
)
Kind = enum.IntEnum("Kind", {"cudaMemcpyHostToDevice": 1, "cudaMemcpyDeviceToHost": 2})
Mode = enum.IntEnum("Mode", {"cudaStreamCaptureModeThreadLocal": 1})


class Recorder(ModuleType):
    """Stands for cuda.bindings.runtime: writes calls down, answers with what it is told."""

    def __init__(self) -> None:
        super().__init__("runtime")
        self.cudaMemcpyKind = Kind
        self.cudaStreamCaptureMode = Mode
        self.cudaStreamNonBlocking = 1
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {}
        self.fails: dict[str, Status] = {}

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("cuda"):
            raise AttributeError(name)

        def call(*arguments: Any) -> tuple[Any, ...]:
            self.calls.append((name, *arguments))
            status = self.fails.get(name, Status.cudaSuccess)
            return (status, *self.answers.get(name, ()))

        return call


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def cuda(recorder: Recorder) -> CudaPython:
    made = CudaPython(recorder, 0)
    recorder.calls.clear()
    return made


def test_opening_makes_the_context_of_the_device(recorder: Recorder) -> None:
    CudaPython(recorder, 1)
    assert recorder.calls == [("cudaSetDevice", 1), ("cudaFree", 0)]


def test_pinned_memory_is_an_array_over_what_cuda_gave(
    recorder: Recorder, cuda: CudaPython
) -> None:
    memory = np.zeros(24, np.uint8)
    recorder.answers["cudaMallocHost"] = (memory.ctypes.data,)
    array = cuda.pinned((2, 3), "float32")
    array[:] = 1.5
    assert recorder.calls == [("cudaMallocHost", 24)]
    assert (memory.view(np.float32) == 1.5).all()
    cuda.free_pinned(array)
    assert recorder.calls[-1] == ("cudaFreeHost", memory.ctypes.data)


def test_copies_name_both_ends_the_size_and_the_direction(
    recorder: Recorder, cuda: CudaPython
) -> None:
    array = np.zeros((2, 3), np.float32)
    cuda.to_device(4096, array, "stream")
    cuda.to_host(array, 4096, "stream")
    host = array.ctypes.data
    assert recorder.calls == [
        ("cudaMemcpyAsync", 4096, host, 24, Kind.cudaMemcpyHostToDevice, "stream"),
        ("cudaMemcpyAsync", host, 4096, 24, Kind.cudaMemcpyDeviceToHost, "stream"),
    ]


def test_a_capture_becomes_a_graph_that_is_ready_to_launch(
    recorder: Recorder, cuda: CudaPython
) -> None:
    recorder.answers |= {"cudaStreamEndCapture": ("graph",), "cudaGraphInstantiate": ("ready",)}
    cuda.begin_capture("stream")
    assert cuda.end_capture("stream") == "ready"
    cuda.launch("ready", "stream")
    cuda.destroy_graph("ready")
    assert recorder.calls == [
        ("cudaStreamBeginCapture", "stream", Mode.cudaStreamCaptureModeThreadLocal),
        ("cudaStreamEndCapture", "stream"),
        ("cudaGraphInstantiate", "graph", 0),
        ("cudaGraphDestroy", "graph"),
        ("cudaGraphLaunch", "ready", "stream"),
        ("cudaGraphExecDestroy", "ready"),
    ]


def test_streams_events_and_memory_are_given_back(recorder: Recorder, cuda: CudaPython) -> None:
    recorder.answers |= {
        "cudaStreamCreateWithFlags": (11,),
        "cudaEventCreate": (12,),
        "cudaMalloc": (4096,),
        "cudaEventElapsedTime": (0.25,),
        "cudaMemGetInfo": (3 * 2**20, 8 * 2**20),
    }
    stream, event = cuda.stream(), cuda.event()
    assert cuda.number_of(stream) == 11
    assert cuda.allocate(8) == 4096
    cuda.record(event, stream)
    cuda.synchronize(stream)
    assert cuda.elapsed_ms(event, event) == 0.25
    assert cuda.free_mib() == 3.0
    cuda.free(4096)
    cuda.destroy_event(event)
    cuda.destroy_stream(stream)
    assert [call[0] for call in recorder.calls[-3:]] == [
        "cudaFree",
        "cudaEventDestroy",
        "cudaStreamDestroy",
    ]


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (Status.cudaErrorMemoryAllocation, RunError, "the GPU has too little free memory"),
        (Status.cudaErrorIllegalAddress, RunError, "CUDA failed: cudaMalloc says cudaErrorIll"),
        (Status.cudaErrorInsufficientDriver, UnavailableError, "no usable NVIDIA GPU or driver"),
    ],
)
def test_a_failed_call_is_named_with_its_status(
    recorder: Recorder, cuda: CudaPython, status: Status, kind: type[Exception], message: str
) -> None:
    recorder.fails["cudaMalloc"] = status
    with pytest.raises(kind, match=message):
        cuda.allocate(8)


def test_without_cuda_python_the_way_to_install_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(UnavailableError, match="needs cuda-python") as caught:
        open_cuda()
    assert "pip install" in caught.value.hints[0]


@pytest.fixture
def bindings() -> ModuleType:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError as error:
        pytest.skip(f"cuda-python is not installed here: {error}")


def test_without_a_gpu_one_sentence_says_so(bindings: ModuleType) -> None:
    if int(bindings.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("there is a GPU here")
    with pytest.raises(UnavailableError, match="no usable NVIDIA GPU or driver here") as caught:
        open_cuda()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    "name",
    [name for name in vars(CudaPython) if not name.startswith("_") and name != "number_of"],
)
def test_cuda_python_takes_the_arguments_that_it_is_given(bindings: ModuleType, name: str) -> None:
    """Arguments are converted before the driver is missed, so a wrong one would be a TypeError."""
    if int(bindings.cudaGetDeviceCount()[0]) == 0:
        pytest.skip("there is a GPU here: handles of nothing may crash it")
    cuda = CudaPython.__new__(CudaPython)
    cuda._runtime, cuda._device = bindings, 0
    array = np.zeros(4, np.float32)
    stream, event, graph = (
        make(0) for make in (bindings.cudaStream_t, bindings.cudaEvent_t, bindings.cudaGraphExec_t)
    )
    arguments: dict[str, tuple[Any, ...]] = {
        "allocate": (16,),
        "free": (4096,),
        "pinned": ((2, 2), "float32"),
        "free_pinned": (array,),
        "to_device": (4096, array, stream),
        "to_host": (array, 4096, stream),
        "synchronize": (stream,),
        "destroy_stream": (stream,),
        "record": (event, stream),
        "elapsed_ms": (event, event),
        "destroy_event": (event,),
        "begin_capture": (stream,),
        "end_capture": (stream,),
        "launch": (graph, stream),
        "destroy_graph": (graph,),
    }
    with pytest.raises(UnavailableError, match="no usable NVIDIA GPU or driver"):
        getattr(cuda, name)(*arguments.get(name, ()))


def test_a_stream_of_cuda_python_has_a_number(bindings: ModuleType) -> None:
    cuda = CudaPython.__new__(CudaPython)
    assert cuda.number_of(bindings.cudaStream_t(4096)) == 4096


def test_cuda_python_has_the_constants_that_are_used(bindings: ModuleType) -> None:
    assert bindings.cudaMemcpyKind.cudaMemcpyHostToDevice == Kind.cudaMemcpyHostToDevice
    assert bindings.cudaMemcpyKind.cudaMemcpyDeviceToHost == Kind.cudaMemcpyDeviceToHost
    assert bindings.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal == 1
    assert bindings.cudaStreamNonBlocking == 1
