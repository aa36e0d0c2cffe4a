"""CUDA kernels of the operators: their sources, how they are compiled, and how they are launched.

One source serves three compilers: NVRTC makes PTX of it without a GPU (``nvrtc``), the host's C++
compiler makes a library that runs on the CPU (``host``), and on a GPU ``driver`` launches the PTX.
``plans`` says which kernel fits a tensor, with which grid and arguments.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal

Source = Literal["blur_pool", "space_to_depth"]

FOLDER: Final = Path(__file__).parent
DEVICE_HEADERS: Final = ("portable.cuh",)
"""What the sources include on a GPU; no header of CUDA is needed."""


def text_of(name: str) -> str:
    """Return one file of this folder."""
    return (FOLDER / name).read_text("utf-8")


_KERNEL: Final = re.compile(r"^[A-Z_]+\((\w+), .*\)\n", re.MULTILINE)


def kernels_of(source: Source) -> tuple[str, ...]:
    """Return the names of the kernels in ``source``, whose last lines make one each."""
    return tuple(match[1] for match in _KERNEL.finditer(text_of(f"{source}.cu")))


def program_of(source: Source, kernel: str | None = None) -> str:
    """Return the text of ``source``, or of that one kernel alone, which an engine then carries."""
    text = text_of(f"{source}.cu")
    if kernel is None:
        return text
    assert kernel in kernels_of(source), kernel
    return _KERNEL.sub(lambda match: match[0] if match[1] == kernel else "", text)
