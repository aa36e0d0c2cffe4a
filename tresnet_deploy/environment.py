"""The machine and its software: this file is about what a reader needs to judge a measurement.

Everything is read from the system's own files; what a system does not tell is left out.
"""

from __future__ import annotations

import functools
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

PACKAGES: Final = (
    "tresnet-deploy",
    "torch",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
    "numpy",
)
# What decides the speed of convolutions, as Linux spells it, and as vendors do.
_INSTRUCTIONS: Final = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX-512 VNNI",
    "avx512_bf16": "AVX-512 bf16",
    "avx512_fp16": "AVX-512 fp16",
    "amx_bf16": "AMX bf16",
    "amx_int8": "AMX int8",
    "asimddp": "Arm dot product",
    "i8mm": "Arm int8 matrix",
    "bf16": "Arm bf16",
    "sve": "SVE",
}
_X86: Final = ("x86_64", "amd64", "i686", "x86")
_GPU_QUERY: Final = "name,driver_version,power.limit,clocks.sm,clocks.max.sm,temperature.gpu"
_GPU_QUERY_LIMIT_S: Final = 10
_KIB_PER_GIB: Final = 2**20
_STEAL, _IDLE, _IO_WAIT = 7, 3, 4  # columns of /proc/stat, proc(5)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemFiles:
    """Where Linux tells about itself, and what ``machine`` it is; tests give their own."""

    proc: Path = Path("/proc")
    cpu: Path = Path("/sys/devices/system/cpu")
    machine: str = field(default_factory=platform.machine)


def describe(files: SystemFiles | None = None) -> dict[str, str]:
    """Return the machine and versions in the order in which a report prints them."""
    files = files or SystemFiles()
    facts = {
        "processor": processor(files),
        "cores": f"{len(usable_cpus())} usable of {os.cpu_count()}",
        "instructions": ", ".join(instructions(files)),
        "virtual machine": "yes" if "hypervisor" in _cpu_flags(files) else "",
        "frequency governor": _text(files.cpu / "cpu0/cpufreq/scaling_governor"),
        "memory": _memory(files),
        "load average": load_average(),
        "GPU": _gpu(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
    }
    return {name: text for name, text in (facts | versions()).items() if text}


def versions() -> dict[str, str]:
    """Return the versions of the packages that matter here, importing none of them."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def processor(files: SystemFiles | None = None) -> str:
    """Return the processor's name."""
    rows = _cpu_info(files or SystemFiles())
    return rows.get("model name") or platform.processor() or platform.machine()


def instructions(files: SystemFiles | None = None) -> tuple[str, ...]:
    """Return the vector and matrix instructions that convolutions can use here."""
    flags = _cpu_flags(files or SystemFiles())
    return tuple(name for flag, name in _INSTRUCTIONS.items() if flag in flags)


def computes_bf16(files: SystemFiles | None = None) -> bool:
    """Return whether the processor multiplies bf16 numbers itself."""
    return any(name.endswith("bf16") for name in instructions(files))


@functools.cache  # asked for every session that is opened
def overflows_int8(files: SystemFiles | None = None) -> bool:
    """Return whether the processor adds two products of bytes in 16 bits, as x86 without VNNI does.

    Engines then saturate where both are large. Where the system does not list instructions, every
    x86 is taken for one of these.
    """
    files = files or SystemFiles()
    exact = any("VNNI" in name or name == "AMX int8" for name in instructions(files))
    return files.machine.lower() in _X86 and not exact


def usable_cpus() -> frozenset[int]:
    """Return the logical CPUs that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def load_average() -> str:
    """Return the 1, 5 and 15 minute load averages, or nothing where there are none."""
    if not hasattr(os, "getloadavg"):
        return ""
    return " ".join(f"{load:.2f}" for load in os.getloadavg())


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuTime:
    """Seconds of CPU time since some fixed moment, on the CPUs that this process may use."""

    total_s: float
    idle_s: float
    stolen_s: float
    own_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Contention:
    """Shares of the CPU time between two moments, in fractions of 1."""

    others: float
    stolen: float


def cpu_time(files: SystemFiles | None = None) -> CpuTime | None:
    """Return the CPU time spent so far, or None on systems that do not tell."""
    text = _text((files or SystemFiles()).proc / "stat")
    wanted = {f"cpu{index}" for index in usable_cpus()}
    rows = [line.split() for line in text.splitlines()]
    ticks = [[int(word) for word in row[1:9]] for row in rows if row and row[0] in wanted]
    if not ticks:
        return None
    second = float(os.sysconf("SC_CLK_TCK"))
    own = os.times()
    return CpuTime(
        total_s=sum(map(sum, ticks)) / second,
        idle_s=sum(row[_IDLE] + row[_IO_WAIT] for row in ticks) / second,
        stolen_s=sum(row[_STEAL] for row in ticks) / second,
        own_s=own.user + own.system,
    )


def contention(before: CpuTime | None, after: CpuTime | None) -> Contention | None:
    """Return what others took between two moments, or None when that is not known."""
    if before is None or after is None or after.total_s <= before.total_s:
        return None
    total = after.total_s - before.total_s
    stolen = after.stolen_s - before.stolen_s
    busy = total - (after.idle_s - before.idle_s) - stolen
    others = busy - (after.own_s - before.own_s)
    return Contention(others=max(0.0, others / total), stolen=max(0.0, stolen / total))


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except OSError:
        return ""


def _cpu_info(files: SystemFiles) -> dict[str, str]:
    first = _text(files.proc / "cpuinfo").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _cpu_flags(files: SystemFiles) -> frozenset[str]:
    rows = _cpu_info(files)
    return frozenset(rows.get("flags", rows.get("Features", "")).split())


def _memory(files: SystemFiles) -> str:
    pairs = (line.partition(":") for line in _text(files.proc / "meminfo").splitlines())
    kib = {name: int(value.split()[0]) for name, _, value in pairs}
    if "MemTotal" not in kib:
        return ""
    available = kib.get("MemAvailable", 0) / _KIB_PER_GIB
    return f"{kib['MemTotal'] / _KIB_PER_GIB:.1f} GiB, {available:.1f} GiB available"


def _gpu() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    command = [tool, f"--query-gpu={_GPU_QUERY}", "--format=csv,noheader"]
    try:
        done = subprocess.run(  # noqa: S603  the tool found on the PATH, fixed arguments
            command, capture_output=True, text=True, timeout=_GPU_QUERY_LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return "; ".join(done.stdout.strip().splitlines())
