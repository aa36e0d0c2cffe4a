"""How many threads a CPU engine should use here: physical cores that this process may occupy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec

from tresnet_deploy.environment import usable_cpus

Threads = Annotated[int, msgspec.Meta(ge=0, le=4096)]  # more than any machine has cores
"""A number of threads; 0 means :func:`available_cores`."""

_TOPOLOGY: Final = Path("/sys/devices/system/cpu")
_CGROUP: Final = Path("/sys/fs/cgroup")


def available_cores(*, topology: Path = _TOPOLOGY, cgroup: Path = _CGROUP) -> int:
    """Return the number of physical cores within this process's affinity and cgroup quota.

    Convolutions fill a core's vector units, so a second hyper-thread on it only adds contention;
    threads beyond a container's quota are throttled.
    """
    cores = {_core_of(cpu, topology) for cpu in usable_cpus()}
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
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            words = " ".join((cgroup / file).read_text() for file in files).split()
        except OSError:
            continue
        quota, period = words[0], words[-1]
        if quota.isdigit() and period.isdigit():  # "max" and -1 mean no limit
            return int(quota) / int(period)
    return None
