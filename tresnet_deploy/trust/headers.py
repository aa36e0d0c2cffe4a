"""The first bytes of a TensorRT plan, read without any NVIDIA library and without running it.

    0-3    magic: ``ftrt`` TensorRT, ``vtrt`` TensorRT for RTX
    16-23  size of the whole plan, little-endian (RTX)
    24-27  version of the runtime: major, minor, patch, build
    32-35  mask of the compute capabilities that it was built for (RTX)

NVIDIA documents none of this. The version's place is what a maintainer answered in NVIDIA/TensorRT
issue 3073, and torch_tensorrt tells plans by ``ftrt``; the rest was found on TensorRT-RTX 1.7.1,
where it holds for every engine built so far. So a header is compared with the sidecar and the
machine, never believed alone, and one of another layout than was seen refuses nothing.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

PlanRuntime = Literal["tensorrt", "tensorrt-rtx"]

HEADER_BYTES: Final = 64  # what TensorRT-RTX itself asks for: Runtime.engine_header_size
_MAGIC: Final[dict[bytes, PlanRuntime]] = {b"ftrt": "tensorrt", b"vtrt": "tensorrt-rtx"}
_SIZE_AT: Final = 16
_VERSION_AT: Final = slice(24, 28)
_CAPABILITIES_AT: Final = 32
_CAPABILITY_OF_BIT: Final = {
    1: (7, 5),
    2: (8, 0),
    4: (8, 6),
    8: (8, 9),
    16: (12, 0),
    32: (12, 1),
}
_SEEN: Final = {("tensorrt-rtx", (1, 7))}
_MAGIC_BYTES: Final = 4
_LENGTH_BYTES: Final = 4
_LARGEST_METADATA_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanHeader:
    """What the head of a plan says; ``size`` and ``capabilities`` are of TensorRT-RTX alone.

    ``others`` says that it names capabilities which are not known here.
    """

    runtime: PlanRuntime
    version: tuple[int, ...]
    size: int | None = None
    capabilities: tuple[tuple[int, int], ...] = ()
    others: bool = False

    @property
    def version_text(self) -> str:
        """The version as people write it."""
        return ".".join(map(str, self.version))


def layout_is_known(runtime: str, version: tuple[int, ...]) -> bool:
    """Return whether headers of this version were seen: others may be laid out in another way."""
    return (runtime, version[:2]) in _SEEN


def read_header(path: Path) -> PlanHeader | None:
    """Return the header of the plan ``path``; None where it begins like no plan.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    runtime = _MAGIC.get(head[:_MAGIC_BYTES])
    if runtime is None or len(head) < HEADER_BYTES:
        return None
    major, minor, patch, build = head[_VERSION_AT]
    if runtime == "tensorrt":
        return PlanHeader(runtime=runtime, version=(major, minor, patch))
    (size,) = struct.unpack_from("<Q", head, _SIZE_AT)
    (mask,) = struct.unpack_from("<I", head, _CAPABILITIES_AT)
    return PlanHeader(
        runtime=runtime,
        version=(major, minor, patch, build),
        size=size,
        capabilities=tuple(sm for bit, sm in _CAPABILITY_OF_BIT.items() if mask & bit),
        others=bool(mask & ~sum(_CAPABILITY_OF_BIT)),
    )


def described_beginning(path: Path) -> str:
    """Return in words what a file that begins like no plan is instead.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        if not head:
            return "it is empty"
        if head[:_MAGIC_BYTES] in _MAGIC:
            return f"it ends after {len(head)} bytes, in the middle of its header"
        length = int.from_bytes(head[:_LENGTH_BYTES], "little")
        if length < _LARGEST_METADATA_BYTES:
            file.seek(_LENGTH_BYTES + length)
            if file.read(_MAGIC_BYTES) in _MAGIC:
                return (
                    f"its plan begins only after {length} bytes of metadata, as Ultralytics "
                    "writes it: no TensorRT tool reads that"
                )
    return f"it begins with {head[:_MAGIC_BYTES]!r}, and a plan with b'ftrt' or b'vtrt'"


def numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: (2026, 4, 1) of 2026.4.1-20000-abc."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
