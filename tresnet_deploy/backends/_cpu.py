"""How many threads a CPU engine should use here: physical cores that this process may occupy."""

from __future__ import annotations

import os
from pathlib import Path

_TOPOLOGY = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


def available_cores(*, topology: Path = _TOPOLOGY, cgroup: Path = _CGROUP) -> int:
    """Return the number of physical cores within this process's affinity and cgroup quota.

    Convolutions fill a core's vector units, so a second hyper-thread on it only adds contention;
    threads beyond a container's quota are throttled.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    logical = allowed if allowed is not None else range(os.cpu_count() or 1)
    cores = {_core_of(cpu, topology) for cpu in logical}
    quota = _quota(cgroup)
    return max(1, len(cores) if quota is None else min(len(cores), int(quota)))


def _core_of(cpu: int, topology: Path) -> tuple[str, str]:
    """Return what tells one physical core from another, or the CPU's own number."""
    folder = topology / f"cpu{cpu}" / "topology"
    try:
        package = (folder / "physical_package_id").read_text().strip()
        return package, (folder / "core_id").read_text().strip()
    except OSError:  # not Linux, or hidden by a sandbox
        return "cpu", str(cpu)


def _quota(cgroup: Path) -> float | None:
    """Return the CPUs a container may use (cgroup v2, then v1), or None when it is not limited."""
    for quota_file, period_file in (
        ("cpu.max", None),
        ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"),
    ):
        try:
            words = (cgroup / quota_file).read_text().split()
            if period_file is not None:
                words += (cgroup / period_file).read_text().split()
        except OSError:
            continue
        quota, period = words[0], words[-1]
        if quota.isdigit() and period.isdigit():  # "max" and -1 mean no limit
            return int(quota) / int(period)
    return None


def processor_name(*, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model name, which compiled blobs and measurements belong to."""
    try:
        lines = cpuinfo.read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "unknown CPU")
