"""CUDA C++ to PTX: this file is about NVRTC, NVIDIA's compiler as a library, by ``ctypes``.

It needs no GPU, no driver and no CUDA toolkit, only the wheel nvidia-cuda-nvrtc (the extra
``plugins``); CUDA builds of torch bring one too, of CUDA 12 or 13. A driver reads PTX of its own
CUDA version and older, so engines for a machine with an old driver want an old wheel.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy.errors import BuildError, UnavailableError, UsageError

from . import DEVICE_HEADERS, Source, program_of, text_of

CAPABILITIES: Final = (75, 80, 86, 89, 90, 100, 120)
"""Compute capabilities that the kernels are compiled for in the tests: Turing to Blackwell."""

_LIBRARY: Final = "libnvrtc.so"
_BUILTINS: Final = "libnvrtc-builtins.so.*"
_OPTIONS: Final = ("--std=c++17", "--restrict")
_HINT: Final = "pip install 'tresnet-deploy[plugins]'"


@dataclass(frozen=True, slots=True)
class Nvrtc:
    """The loaded compiler."""

    library: ctypes.CDLL

    @property
    def name(self) -> str:
        """The CUDA version in words."""
        return ".".join(map(str, self.version))

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

    def ptx(self, source: Source, capability: int, kernel: str | None = None) -> str:
        """Return the PTX of ``source``, or of one kernel, for GPUs of ``capability`` and later.

        Raises:
            UsageError: this NVRTC compiles for no such GPU.
            BuildError: it refused the source; its own words follow.
        """
        arch = f"compute_{self._known(capability)}"
        return self._compiled(source, program_of(source, kernel), arch, "PTX").decode()

    def cubin(self, source: Source, capability: int) -> bytes:
        """Return the machine code of ``source`` for GPUs of ``capability`` alone; errors as ptx."""
        arch = f"sm_{self._known(capability)}"
        return self._compiled(source, program_of(source), arch, "CUBIN")

    def _known(self, capability: int) -> int:
        known = self.capabilities()
        if capability not in known:
            raise UsageError(
                f"CUDA {self.name} compiles for SM {', '.join(map(str, known))}, not for SM "
                f"{capability}"
            )
        return capability

    def _compiled(self, source: Source, text: str, arch: str, what: str) -> bytes:
        program = self._program(source, text)
        try:
            options = (*_OPTIONS, f"--gpu-architecture={arch}")
            encoded = [option.encode() for option in options]
            array = (ctypes.c_char_p * len(encoded))(*encoded)
            if self.library.nvrtcCompileProgram(program, len(encoded), array):
                words = self._text(program, "ProgramLog").decode()
                raise BuildError(f"NVRTC refused {source}.cu:\n{words}")
            return self._text(program, what)
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def _program(self, source: Source, text: str) -> ctypes.c_void_p:
        headers = [text_of(name).encode() for name in DEVICE_HEADERS]
        texts = (ctypes.c_char_p * len(headers))(*headers)
        names = (ctypes.c_char_p * len(headers))(*(name.encode() for name in DEVICE_HEADERS))
        program = ctypes.c_void_p()
        self._check(
            self.library.nvrtcCreateProgram(
                ctypes.byref(program),
                text.encode(),
                f"{source}.cu".encode(),
                len(headers),
                texts,
                names,
            )
        )
        return program

    def _text(self, program: ctypes.c_void_p, what: str) -> bytes:
        size = ctypes.c_size_t()
        self._check(self.library[f"nvrtcGet{what}Size"](program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(self.library[f"nvrtcGet{what}"](program, buffer))
        return buffer.raw if what == "CUBIN" else buffer.value

    def _check(self, code: int) -> None:
        if code:
            describe = self.library.nvrtcGetErrorString
            describe.restype = ctypes.c_char_p
            raise BuildError(f"NVRTC failed: {describe(code).decode()}")


@functools.cache
def find() -> Nvrtc:
    """Return the compiler of the newest CUDA version that is installed.

    Raises:
        UnavailableError: there is none, or it does not load.
    """
    package = importlib.util.find_spec("nvidia")
    folders = [] if package is None else list(package.submodule_search_locations or ())
    paths = [path for folder in folders for path in Path(folder).glob(f"*/lib/{_LIBRARY}.*")]
    if not paths:
        raise UnavailableError(
            "NVRTC, which compiles the kernels of the plugins, is not installed", hints=(_HINT,)
        )
    try:
        return open_library(max(paths, key=_soname_number))
    except OSError as error:
        raise UnavailableError(f"NVRTC does not load: {error}", hints=(_HINT,)) from error


def _soname_number(path: Path) -> int:
    number = path.name.removeprefix(f"{_LIBRARY}.").partition(".")[0]
    return int(number) if number.isdecimal() else 0


def open_library(path: Path) -> Nvrtc:
    """Return the compiler in ``path``.

    Raises:
        OSError: it does not load.
    """
    # Some versions look for their other half by name only, and not beside themselves.
    for half in sorted(path.parent.glob(_BUILTINS)):
        ctypes.CDLL(str(half), mode=ctypes.RTLD_GLOBAL)
    return Nvrtc(ctypes.CDLL(str(path)))


def nearest(compiler: Nvrtc, capability: int) -> int:
    """Return the newest capability that ``compiler`` knows and a GPU of ``capability`` runs.

    Raises:
        UnavailableError: the GPU is older than all of them.
    """
    fitting = [known for known in compiler.capabilities() if known <= capability]
    if not fitting:
        raise UnavailableError(
            f"NVRTC of CUDA {compiler.name} compiles for no GPU as old as SM {capability}",
            hints=("pip install 'nvidia-cuda-nvrtc-cu12'",),
        )
    return fitting[-1]


@functools.cache
def ptx(source: Source, capability: int, kernel: str) -> str:
    """Return the PTX of one kernel for a GPU of ``capability``, compiled once a process."""
    compiler = find()
    return compiler.ptx(source, nearest(compiler, capability), kernel)


@functools.cache
def code(source: Source, capability: int) -> bytes:
    """Return what a driver loads on a GPU of ``capability``, made once a process.

    That is machine code, which drivers of the same CUDA generation take; PTX, which wants a driver
    as new as the compiler, is for GPUs that the compiler does not know.
    """
    compiler = find()
    known = nearest(compiler, capability)
    if known == capability:
        return compiler.cubin(source, capability)
    return compiler.ptx(source, known).encode()
