"""Launching kernels on a GPU: this file is about the CUDA driver, by ``ctypes``.

Not run on a GPU yet. Kernels are compiled and loaded at their first launch in a context.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Final

from tresnet_deploy.errors import RunError, UnavailableError

from . import Source, nvrtc
from .plans import THREADS, Launch, arguments_of, blocks_of

_LIBRARY: Final = "libcuda.so.1"
_MAJOR: Final = 75  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR in cuda.h
_MINOR: Final = 76


def launch(
    plan: Launch[int],
    pointers: Sequence[int],
    *,
    stream: int,
    ordinal: int | None = None,
    library: ctypes.CDLL | None = None,
) -> None:
    """Queue ``plan`` on ``stream``, with device pointers to its inputs and then its output.

    ``ordinal`` is the GPU whose primary context a thread without one takes, as the threads of
    torch's backward pass may be; None refuses such a thread. ``library`` is the driver; None opens
    the system's.

    Raises:
        UnavailableError: no driver, or no NVRTC.
        UsageError: the tensor is empty or too large.
        RunError: the driver refused.
    """
    cuda = library or _open()
    function = _function(cuda, _context(cuda, ordinal), plan.source, plan.kernel)
    parameters, _values = arguments_of(plan, pointers)
    one = ctypes.c_uint(1)
    code = cuda.cuLaunchKernel(
        function,
        *(ctypes.c_uint(blocks_of(plan)), one, one),
        *(ctypes.c_uint(THREADS), one, one),
        ctypes.c_uint(0),
        ctypes.c_void_p(stream),
        parameters,
        None,
    )
    _check(cuda, code, f"launching {plan.kernel}")


@functools.cache
def _open() -> ctypes.CDLL:
    try:
        cuda = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise UnavailableError(
            f"the NVIDIA driver is not here ({_LIBRARY}: {error}), and no kernel runs without it"
        ) from error
    _check(cuda, cuda.cuInit(ctypes.c_uint(0)), "starting CUDA")
    return cuda


def _context(cuda: ctypes.CDLL, ordinal: int | None) -> int:
    context = ctypes.c_void_p()
    _check(cuda, cuda.cuCtxGetCurrent(ctypes.byref(context)), "finding the CUDA context")
    if context.value is None and ordinal is not None:
        device = _device(cuda, ordinal)
        code = cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
        _check(cuda, code, f"opening GPU {ordinal}")
        _check(cuda, cuda.cuCtxSetCurrent(context), f"taking GPU {ordinal}")
    if context.value is None:
        raise RunError("no CUDA context is current in this thread: put a tensor on the GPU first")
    return context.value


def _device(cuda: ctypes.CDLL, ordinal: int) -> ctypes.c_int:
    device = ctypes.c_int()
    code = cuda.cuDeviceGet(ctypes.byref(device), ctypes.c_int(ordinal))
    _check(cuda, code, f"finding GPU {ordinal}")
    return device


def current_capability(cuda: ctypes.CDLL | None = None) -> int:
    """Return the compute capability of the current context's GPU, such as 86.

    Raises:
        UnavailableError: no driver.
        RunError: no context is current.
    """
    cuda = cuda or _open()
    device = ctypes.c_int()
    _check(cuda, cuda.cuCtxGetDevice(ctypes.byref(device)), "finding the GPU")
    return _capability(cuda, device)


def capability_of(ordinal: int, *, library: ctypes.CDLL | None = None) -> int:
    """Return the compute capability of GPU number ``ordinal``; no context is needed.

    Raises:
        UnavailableError: no driver.
        RunError: there is no such GPU.
    """
    cuda = library or _open()
    return _capability(cuda, _device(cuda, ordinal))


def _capability(cuda: ctypes.CDLL, device: ctypes.c_int) -> int:
    return 10 * _attribute(cuda, _MAJOR, device) + _attribute(cuda, _MINOR, device)


def _attribute(cuda: ctypes.CDLL, number: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    code = cuda.cuDeviceGetAttribute(ctypes.byref(value), ctypes.c_int(number), device)
    _check(cuda, code, "asking for the compute capability")
    return value.value


@functools.cache
def _function(cuda: ctypes.CDLL, context: int, source: Source, kernel: str) -> ctypes.c_void_p:
    """Return a kernel of the module that ``context`` holds; each is loaded once."""
    function = ctypes.c_void_p()
    module = _module(cuda, context, source)
    code = cuda.cuModuleGetFunction(ctypes.byref(function), module, kernel.encode())
    _check(cuda, code, f"finding {kernel}")
    return function


@functools.cache
def _module(cuda: ctypes.CDLL, _context: int, source: Source) -> ctypes.c_void_p:
    module = ctypes.c_void_p()
    image = nvrtc.code(source, current_capability(cuda))
    held = ctypes.create_string_buffer(image)  # machine code may hold zeros, PTX must end in one
    code = cuda.cuModuleLoadData(ctypes.byref(module), held)
    _check(cuda, code, f"loading {source}.cu, which a driver older than the compiler may not read")
    return module


def _check(cuda: ctypes.CDLL, code: int, doing: str) -> None:
    if code:
        words = ctypes.c_char_p()
        cuda.cuGetErrorString(ctypes.c_int(code), ctypes.byref(words))
        raise RunError(f"{doing} failed: {(words.value or b'').decode() or code}")
