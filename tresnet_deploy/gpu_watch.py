"""A GPU while it is measured: this file is about its clocks, heat and throttling, by nvidia-smi.

nvidia-smi comes with every driver and is asked in CSV, so nothing is installed for it. Not run on a
GPU yet: reading its answers is tested on text in the form that its documentation gives.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import IO, Final

_TOOL: Final = "nvidia-smi"
_FACTS: Final = "name,driver_version,vbios_version,power.limit,clocks.max.sm,persistence_mode"
_SAMPLE: Final = "clocks.sm,clocks.mem,temperature.gpu,power.draw"
# The new name came with driver 535; newer drivers may drop the old one.
_REASONS: Final = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
_EVERY_MS: Final = 200
_LIMIT_S: Final = 10
_SPACES: Final = str.maketrans("._", "  ")
_UNKNOWN: Final = "["  # [N/A], [Not Supported], [Unknown Error]
# Bits of nvmlClocksEventReasons, nvml.h; what only limits the clock by request is no throttling.
_IDLE: Final = 0x1
_THROTTLES: Final = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "power brake",
}
_FLOATS: Final = 0.05  # of the median clock: as much moves a ratio by about as much


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look at the GPU; ``None`` is what it does not tell."""

    sm_mhz: float | None
    memory_mhz: float | None
    temperature_c: float | None
    power_w: float | None
    reasons: int


@dataclass(slots=True)
class Watch:
    """What was seen; filled when watching ends. ``processes`` use the GPU, this one included."""

    samples: tuple[Sample, ...] = ()
    processes: int = 0
    facts: tuple[str, ...] = field(default=())

    def busy(self) -> tuple[Sample, ...]:
        """Return the samples in which the GPU worked, or all where it never did."""
        return tuple(each for each in self.samples if not each.reasons & _IDLE) or self.samples

    def describe(self) -> dict[str, str]:
        """Return what a report's environment says of the GPU during the run."""
        found = {}
        if self.facts:
            found["GPU settings"] = ", ".join(self.facts)
        if self.samples:
            found["GPU during the run"] = ", ".join(_seen(self.busy()))
        return found

    def doubts(self) -> Iterator[str]:
        """Give the reasons for which nobody should publish times taken meanwhile."""
        busy = self.busy()
        for bit, reason in _THROTTLES.items():
            hits = sum(bool(each.reasons & bit) for each in busy)
            if hits:
                yield f"the GPU throttled ({reason}) in {hits / len(busy):.0%} of the time"
        clocks = _known(each.sm_mhz for each in busy)
        if clocks and max(clocks) - min(clocks) > _FLOATS * median(clocks):
            yield (
                f"the GPU's clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz; lock "
                f"it with nvidia-smi --lock-gpu-clocks={median(clocks):.0f}"
            )
        if self.processes > 1:
            yield f"{self.processes - 1} other processes used the GPU"


@contextmanager
def watched(bus_id: str, *, every_ms: int = _EVERY_MS) -> Iterator[Watch]:
    """Watch the GPU on a PCI bus while the block runs; where that cannot be, nothing is seen.

    What was seen is in the :class:`Watch` after the block.
    """
    watch = Watch()
    path = shutil.which(_TOOL)
    tool = [path, f"--id={bus_id}"] if path else []
    reasons = _reasons_field(tool) if path else None
    if reasons is None:
        yield watch
        return
    watch.facts = _facts(tool)
    query = [f"--query-gpu={_SAMPLE},{reasons}", "--format=csv,noheader,nounits"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as lines:
        process = _start([*tool, *query, f"--loop-ms={every_ms}"], lines)
        try:
            yield watch
            watch.processes = _processes(tool)
        finally:
            process.terminate()
            process.wait()
            lines.seek(0)
            watch.samples = samples_of(lines.read())


def _start(command: list[str], lines: IO[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  the tool found on the PATH, fixed arguments
        command, stdout=lines, stderr=subprocess.DEVNULL
    )


def samples_of(text: str) -> tuple[Sample, ...]:
    """Return the samples in nvidia-smi's lines; a line cut off by the end of the run is dropped."""
    return tuple(filter(None, map(_sample, text.splitlines())))


def _sample(line: str) -> Sample | None:
    cells = [cell.strip() for cell in line.split(",")]
    *numbers, reasons = cells
    if len(numbers) != len(_SAMPLE.split(",")):
        return None
    try:
        sm_mhz, memory_mhz, temperature_c, power_w = map(_number, numbers)
        bits = 0 if reasons.startswith(_UNKNOWN) else int(reasons, 16)
    except ValueError:
        return None
    return Sample(
        sm_mhz=sm_mhz,
        memory_mhz=memory_mhz,
        temperature_c=temperature_c,
        power_w=power_w,
        reasons=bits,
    )


def _number(cell: str) -> float | None:
    return None if cell.startswith(_UNKNOWN) else float(cell)


def _known(values: Iterator[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _seen(samples: tuple[Sample, ...]) -> Iterator[str]:
    clocks = _known(each.sm_mhz for each in samples)
    memory = _known(each.memory_mhz for each in samples)
    heat = _known(each.temperature_c for each in samples)
    power = _known(each.power_w for each in samples)
    if clocks:
        yield f"SM at {median(clocks):.0f} MHz ({min(clocks):.0f} to {max(clocks):.0f})"
    if memory:
        yield f"memory at {median(memory):.0f} MHz"
    if heat:
        yield f"at most {max(heat):.0f} °C"
    if power:
        yield f"at most {max(power):.0f} W"
    seen = [text for bit, text in _THROTTLES.items() if any(each.reasons & bit for each in samples)]
    yield f"throttled by {' and '.join(seen)}" if seen else "not throttled"


def _reasons_field(tool: list[str]) -> str | None:
    """Return the name under which this driver tells why it throttles, None when it does not."""
    return next((name for name in _REASONS if _ask(tool, f"--query-gpu={name}")), None)


def _facts(tool: list[str]) -> tuple[str, ...]:
    """Return name, driver, power limit and so on of the GPU, each with its own heading."""
    lines = _ask(tool, f"--query-gpu={_FACTS}")
    cells = [cell.strip() for cell in lines[0].split(",")] if lines else []
    return tuple(
        cell if name == "name" else f"{name.translate(_SPACES)} {cell}"
        for name, cell in zip(_FACTS.split(","), cells, strict=False)
        if not cell.startswith(_UNKNOWN)
    )


def _processes(tool: list[str]) -> int:
    return len(_ask(tool, "--query-compute-apps=pid"))


def _ask(tool: list[str], query: str) -> list[str]:
    command = [*tool, query, "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603  the tool found on the PATH, fixed arguments
            command, capture_output=True, text=True, timeout=_LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return done.stdout.strip().splitlines()
