"""Threads: physical cores within affinity and quota, from the system's own files."""

from pathlib import Path

import pytest

from tresnet_deploy.backends import _cpu


@pytest.fixture
def topology(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four cores of two hyper-threads each, all usable."""
    for cpu in range(8):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{cpu % 4 // 2}\n")
        (folder / "core_id").write_text(f"{cpu % 2}\n")
    monkeypatch.setattr(_cpu, "usable_cpus", lambda: frozenset(range(8)))
    return tmp_path


def test_hyper_threads_of_one_core_count_once(topology: Path) -> None:
    assert _cpu.available_cores(topology=topology, cgroup=topology) == 4


def test_only_cores_within_the_affinity_count(
    topology: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_cpu, "usable_cpus", lambda: frozenset({0, 1, 4}))
    assert _cpu.available_cores(topology=topology, cgroup=topology) == 2


def test_without_topology_each_cpu_is_a_core(topology: Path) -> None:
    assert _cpu.available_cores(topology=topology / "no", cgroup=topology) == 8


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "250000 100000\n"}, 2),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "900000 100000\n"}, 4),
        ({"cpu.max": "max 100000\n"}, 4),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4),
    ],
)
def test_a_container_quota_bounds_the_threads(
    topology: Path, tmp_path: Path, files: dict[str, str], cores: int
) -> None:
    cgroup = tmp_path / "cgroup"
    for name, text in files.items():
        (cgroup / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroup / name).write_text(text)
    assert _cpu.available_cores(topology=topology, cgroup=cgroup) == cores
