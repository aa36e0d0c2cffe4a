"""NVIDIA GPUs as the driver tells of them: this file is about what is visible, without CUDA.

The driver's own library is asked through ctypes, so neither torch nor cuda-python is needed. Not
run on a GPU yet; without a driver it returns nothing.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass
from typing import Final

# Values of CUdevice_attribute, cuda.h.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NAME_BYTES: Final = 256
_BYTES_PER_MIB: Final = 2**20
_LIBRARY: Final = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One visible GPU; ``capability`` is the compute capability, such as (8, 6)."""

    name: str
    capability: tuple[int, int]
    memory_mib: int

    def __str__(self) -> str:
        """Return the GPU as an artefact's ``device`` has it."""
        major, minor = self.capability
        return f"{self.name} (compute capability {major}.{minor})"


def visible() -> tuple[Gpu, ...]:
    """Return the GPUs that this process may use, the first being the one that CUDA would take."""
    driver = _driver()
    if driver is None:
        return ()
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    return tuple(_gpu(driver, index) for index in range(count.value))


def driver_version() -> str | None:
    """Return the newest CUDA version that the driver runs, such as "13.1"; None without one."""
    driver = _driver()
    number = ctypes.c_int()
    if driver is None or driver.cuDriverGetVersion(ctypes.byref(number)):
        return None
    return f"{number.value // 1000}.{number.value % 1000 // 10}"


def _driver() -> ctypes.CDLL | None:
    """Return the driver's library, initialised; None where there is none or it finds no GPU."""
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    return None if driver.cuInit(0) else driver


def _gpu(driver: ctypes.CDLL, index: int) -> Gpu:
    device = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), index)
    name = ctypes.create_string_buffer(_NAME_BYTES)
    driver.cuDeviceGetName(name, _NAME_BYTES, device)
    memory = ctypes.c_size_t()
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), device)
    return Gpu(
        name=name.value.decode(errors="replace"),
        capability=(
            _attribute(driver, _CAPABILITY_MAJOR, device),
            _attribute(driver, _CAPABILITY_MINOR, device),
        ),
        memory_mib=memory.value // _BYTES_PER_MIB,
    )


def _attribute(driver: ctypes.CDLL, attribute: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    return value.value
