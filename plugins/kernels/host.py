"""The kernels on a CPU: this file is about proving their index arithmetic without a GPU.

The very source that NVRTC compiles goes through the system's C++ compiler, with ``host_launch.h``
in the place of CUDA. It is slow, and no way to run a network.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy.errors import BuildError, UnavailableError

from . import FOLDER, Source
from .plans import THREADS, Launch, arguments_of, blocks_of

_COMPILERS: Final = ("c++", "g++", "clang++")
_FLAGS: Final = (
    *("-std=c++17", "-O1", "-shared", "-fPIC", "-ffp-contract=off", "-Wno-attributes"),
    # A vector at an address that no GPU would load it from ends the process, as it would a kernel.
    *("-fsanitize=alignment,bounds", "-fsanitize-undefined-trap-on-error"),
)
_TIME_LIMIT_S: Final = 120
_ENTRY: Final = "_on_host"  # as GRID_ENTRY names it


@dataclass(frozen=True, slots=True)
class HostKernels:
    """The compiled kernels of one source."""

    library: ctypes.CDLL

    def run(self, launch: Launch[int], pointers: Sequence[int]) -> None:
        """Run every thread of ``launch`` on memory at ``pointers``: the inputs, then the output.

        Raises:
            UsageError: the tensor is empty or too large.
        """
        entry = self.library[launch.kernel + _ENTRY]
        parameters, _values = arguments_of(launch, pointers)
        entry(ctypes.c_uint(blocks_of(launch)), ctypes.c_uint(THREADS), parameters)


def find_compiler() -> str:
    """Return the system's C++ compiler, the first of the usual names.

    Raises:
        UnavailableError: there is none.
    """
    for name in _COMPILERS:
        if path := shutil.which(name):
            return path
    raise UnavailableError(
        "no C++ compiler is installed here (c++, g++ or clang++), which runs kernels on the CPU",
        hints=("apt-get install g++",),
    )


def compile_kernels(source: Source, folder: Path) -> HostKernels:
    """Compile ``source`` for this CPU into ``folder``.

    Raises:
        UnavailableError: there is no C++ compiler.
        BuildError: it refused the source.
    """
    target = folder / f"{source}.so"
    inputs = (f"-I{FOLDER}", "-x", "c++", str(FOLDER / f"{source}.cu"))
    command = [find_compiler(), *_FLAGS, "-o", str(target), *inputs]
    done = subprocess.run(  # noqa: S603  (a compiler that the user installed, on our own source)
        command, capture_output=True, text=True, check=False, timeout=_TIME_LIMIT_S
    )
    if done.returncode:
        raise BuildError(f"{command[0]} refused {source}.cu:\n{done.stderr.strip()}")
    return HostKernels(ctypes.CDLL(str(target)))
