"""Memory, streams, events and graphs of a GPU: this file is about the CUDA calls a session needs.

Behind :class:`Cuda` stands :class:`CudaPython`, over ``cuda.bindings.runtime`` of cuda-python. In
tests a recording fake does. Not run on a GPU yet.
"""

from __future__ import annotations

import ctypes
from types import ModuleType
from typing import Any, Final, Protocol

import numpy as np

from tresnet_deploy.contracts import Array
from tresnet_deploy.errors import RunError, UnavailableError

Address = int
Handle = Any
"""A stream, an event or an instantiated graph: CUDA's own, opaque here."""

_MIB: Final = 2**20
_BUS_ID_BYTES: Final = 16  # domain:bus:device.function and its end, CUDA's documentation
_NO_MEMORY: Final = ("cudaErrorMemoryAllocation",)
_NO_DEVICE: Final = (
    "cudaErrorInsufficientDriver",
    "cudaErrorNoDevice",
    "cudaErrorInvalidDevice",
    "cudaErrorSystemDriverMismatch",
    "cudaErrorStubLibrary",
)


class Cuda(Protocol):
    """What a session asks of CUDA. Every failure is a RunError that names the call."""

    def allocate(self, size: int) -> Address:
        """Return ``size`` bytes of device memory."""

    def free(self, address: Address) -> None:
        """Give device memory back."""

    def pinned(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Return an array in page-locked host memory, which the device copies without a detour."""

    def free_pinned(self, array: Array) -> None:
        """Give page-locked memory back; ``array`` must not be used afterwards."""

    def to_device(self, address: Address, array: Array, stream: Handle) -> None:
        """Queue the copy of a pinned ``array`` to the device."""

    def to_host(self, array: Array, address: Address, stream: Handle) -> None:
        """Queue the copy from the device into a pinned ``array``."""

    def stream(self) -> Handle:
        """Return a new stream that does not wait for the legacy default stream."""

    def number_of(self, stream: Handle) -> int:
        """Return the number that TensorRT takes for ``stream``."""

    def synchronize(self, stream: Handle) -> None:
        """Wait until everything queued on ``stream`` is done."""

    def destroy_stream(self, stream: Handle) -> None:
        """Give a stream back."""

    def event(self) -> Handle:
        """Return a new event that takes times."""

    def record(self, event: Handle, stream: Handle) -> None:
        """Queue the taking of a time."""

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """Return the milliseconds between two events that have happened."""

    def destroy_event(self, event: Handle) -> None:
        """Give an event back."""

    def begin_capture(self, stream: Handle) -> None:
        """Record what is queued on ``stream`` from now on, without running it."""

    def end_capture(self, stream: Handle) -> Handle:
        """Return what was recorded, ready to launch."""

    def launch(self, graph: Handle, stream: Handle) -> None:
        """Queue all that ``graph`` holds."""

    def destroy_graph(self, graph: Handle) -> None:
        """Give a graph back."""

    def free_mib(self) -> float:
        """Return the device memory that nobody holds, in MiB."""

    def gpu_id(self) -> str:
        """Return the GPU's address on the PCI bus."""


def open_cuda(device: int = 0) -> CudaPython:
    """Return CUDA on the GPU number ``device``.

    Raises:
        UnavailableError: cuda-python is not installed, or there is no GPU or no driver.
    """
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise UnavailableError(
            f"running on a GPU needs cuda-python, which is not usable here: {error}",
            hints=("pip install 'cuda-bindings>=12.9,<14'",),
        ) from error
    return CudaPython(runtime, device)


class CudaPython:
    """CUDA by cuda-python; ``runtime`` is the module ``cuda.bindings.runtime``."""

    def __init__(self, runtime: ModuleType, device: int) -> None:
        """Make ``device`` the current one of this thread."""
        self._runtime = runtime
        self._device = device
        self._call("cudaSetDevice", device)
        self._call("cudaFree", 0)  # makes the context now, so that a lost driver is found here

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *results = getattr(self._runtime, name)(*arguments)
        if int(status) != 0:
            raise _error(name, str(status.name))
        return results[0] if len(results) == 1 else tuple(results)

    def allocate(self, size: int) -> Address:
        """Return ``size`` bytes of device memory."""
        return int(self._call("cudaMalloc", size))

    def free(self, address: Address) -> None:
        """Give device memory back."""
        self._call("cudaFree", address)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> Array:
        """Return an array in page-locked host memory."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = int(self._call("cudaMallocHost", size))
        memory = (ctypes.c_ubyte * size).from_address(address)
        array: Array = np.frombuffer(memoryview(memory), dtype).reshape(shape)
        return array

    def free_pinned(self, array: Array) -> None:
        """Give page-locked memory back."""
        self._call("cudaFreeHost", array.ctypes.data)

    def to_device(self, address: Address, array: Array, stream: Handle) -> None:
        """Queue the copy of a pinned ``array`` to the device."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, stream)

    def to_host(self, array: Array, address: Address, stream: Handle) -> None:
        """Queue the copy from the device into a pinned ``array``."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, stream)

    def stream(self) -> Handle:
        """Return a new stream that does not wait for the legacy default stream."""
        return self._call("cudaStreamCreateWithFlags", self._runtime.cudaStreamNonBlocking)

    def number_of(self, stream: Handle) -> int:
        """Return the number that TensorRT takes for ``stream``."""
        return int(stream)

    def synchronize(self, stream: Handle) -> None:
        """Wait until everything queued on ``stream`` is done."""
        self._call("cudaStreamSynchronize", stream)

    def destroy_stream(self, stream: Handle) -> None:
        """Give a stream back."""
        self._call("cudaStreamDestroy", stream)

    def event(self) -> Handle:
        """Return a new event that takes times."""
        return self._call("cudaEventCreate")

    def record(self, event: Handle, stream: Handle) -> None:
        """Queue the taking of a time."""
        self._call("cudaEventRecord", event, stream)

    def elapsed_ms(self, start: Handle, end: Handle) -> float:
        """Return the milliseconds between two events that have happened."""
        return float(self._call("cudaEventElapsedTime", start, end))

    def destroy_event(self, event: Handle) -> None:
        """Give an event back."""
        self._call("cudaEventDestroy", event)

    def begin_capture(self, stream: Handle) -> None:
        """Record what is queued on ``stream``; other threads may go on using CUDA meanwhile."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Handle) -> Handle:
        """Return what was recorded, ready to launch."""
        graph = self._call("cudaStreamEndCapture", stream)
        try:
            return self._call("cudaGraphInstantiate", graph, 0)
        finally:
            self._call("cudaGraphDestroy", graph)

    def launch(self, graph: Handle, stream: Handle) -> None:
        """Queue all that ``graph`` holds."""
        self._call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Handle) -> None:
        """Give a graph back."""
        self._call("cudaGraphExecDestroy", graph)

    def free_mib(self) -> float:
        """Return the device memory that nobody holds, in MiB."""
        free, _total = self._call("cudaMemGetInfo")
        return int(free) / _MIB

    def gpu_id(self) -> str:
        """Return the GPU's address on the PCI bus."""
        address: bytes = self._call("cudaDeviceGetPCIBusId", _BUS_ID_BYTES, self._device)
        return address.partition(b"\0")[0].decode()


def _error(call: str, status: str) -> RunError | UnavailableError:
    if status in _NO_DEVICE:
        return UnavailableError(
            f"no usable NVIDIA GPU or driver here: {call} says {status}",
            hints=("nvidia-smi, which shows the driver and its GPUs",),
        )
    if status in _NO_MEMORY:
        return RunError(
            f"the GPU has too little free memory: {call} says {status}",
            hints=("nvidia-smi, which shows who holds it", "use a smaller batch"),
        )
    return RunError(f"CUDA failed: {call} says {status}")
