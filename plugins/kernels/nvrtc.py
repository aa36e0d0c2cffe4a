"""CUDA C++ to PTX: this file is about NVRTC, NVIDIA's compiler as a library, by ``ctypes``.

It needs no GPU, no driver and no CUDA toolkit, only the wheel nvidia-cuda-nvrtc (the extra
``plugins``); CUDA builds of torch bring one too. A driver reads PTX of its own CUDA version and
older, so a machine with an old driver wants an old wheel.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy.errors import BuildError, UnavailableError, UsageError

from . import DEVICE_HEADERS, Source, text_of

CAPABILITIES: Final = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities that the kernels are compiled for in the tests: Turing to Blackwell."""

_LIBRARY: Final = "libnvrtc.so"
_OPTIONS: Final = ("--std=c++17", "--restrict")
_HINT: Final = "pip install 'tresnet-deploy[plugins]'"


@dataclass(frozen=True, slots=True)
class Nvrtc:
    """The loaded compiler."""

    library: ctypes.CDLL

    @property
    def version(self) -> tuple[int, int]:
        """The CUDA version: (major, minor)."""
        major, minor = ctypes.c_int(), ctypes.c_int()
        self._check(self.library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
        return major.value, minor.value

    def capabilities(self) -> tuple[int, ...]:
        """Return the compute capabilities that it compiles for, such as 86, ascending."""
        count = ctypes.c_int()
        self._check(self.library.nvrtcGetNumSupportedArchs(ctypes.byref(count)))
        found = (ctypes.c_int * count.value)()
        self._check(self.library.nvrtcGetSupportedArchs(found))
        return tuple(sorted(found))

    def compile(self, source: Source, capability: int) -> str:
        """Return the PTX of ``source`` for GPUs of ``capability`` and later.

        Raises:
            UsageError: this NVRTC compiles for no such GPU.
            BuildError: it refused the source; its own words follow.
        """
        known = self.capabilities()
        if capability not in known:
            raise UsageError(
                f"CUDA {'.'.join(map(str, self.version))} compiles for SM "
                f"{', '.join(map(str, known))}, not for SM {capability}"
            )
        program = self._program(source)
        try:
            options = (*_OPTIONS, f"--gpu-architecture=compute_{capability}")
            encoded = [option.encode() for option in options]
            array = (ctypes.c_char_p * len(encoded))(*encoded)
            code = self.library.nvrtcCompileProgram(program, len(encoded), array)
            if code:
                raise BuildError(f"NVRTC refused {source}.cu:\n{self._text(program, 'ProgramLog')}")
            return self._text(program, "PTX")
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def _program(self, source: Source) -> ctypes.c_void_p:
        headers = [text_of(name).encode() for name in DEVICE_HEADERS]
        texts = (ctypes.c_char_p * len(headers))(*headers)
        names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in DEVICE_HEADERS))
        program = ctypes.c_void_p()
        self._check(
            self.library.nvrtcCreateProgram(
                ctypes.byref(program),
                text_of(f"{source}.cu").encode(),
                f"{source}.cu".encode(),
                len(headers),
                texts,
                names,
            )
        )
        return program

    def _text(self, program: ctypes.c_void_p, what: str) -> str:
        size = ctypes.c_size_t()
        self._check(self.library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(self.library[f"nvrtcGet{what}"](program, buffer))
        return buffer.value.decode()

    def _check(self, code: int) -> None:
        if code:
            describe = self.library.nvrtcGetErrorString
            describe.restype = ctypes.c_char_p
            raise BuildError(f"NVRTC failed: {describe(code).decode()}")


@functools.cache
def find() -> Nvrtc:
    """Return the compiler of the newest wheel that is installed.

    Raises:
        UnavailableError: there is none, or it does not load.
    """
    package = importlib.util.find_spec("nvidia")
    folders = [] if package is None else list(package.submodule_search_locations or ())
    paths = sorted(path for folder in folders for path in Path(folder).glob(f"*/lib/{_LIBRARY}.*"))
    if not paths:
        raise UnavailableError(
            "NVRTC, which compiles the kernels of the plugins, is not installed", hints=(_HINT,)
        )
    try:
        return Nvrtc(ctypes.CDLL(str(paths[-1])))
    except OSError as error:
        raise UnavailableError(f"NVRTC does not load: {error}", hints=(_HINT,)) from error


def nearest(compiler: Nvrtc, capability: int) -> int:
    """Return the newest capability that ``compiler`` knows and a GPU of ``capability`` runs.

    Raises:
        UnavailableError: the GPU is older than all of them.
    """
    fitting = [known for known in compiler.capabilities() if known <= capability]
    if not fitting:
        raise UnavailableError(
            f"NVRTC of CUDA {'.'.join(map(str, compiler.version))} compiles for no GPU as old as "
            f"SM {capability}",
            hints=("pip install 'nvidia-cuda-nvrtc-cu12'",),
        )
    return fitting[-1]


@functools.cache
def ptx(source: Source, capability: int) -> str:
    """Return the PTX of ``source`` for a GPU of ``capability``, compiled once a process."""
    compiler = find()
    return compiler.compile(source, nearest(compiler, capability))
