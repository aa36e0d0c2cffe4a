"""What a report tells of the machine, read from files that a test can write."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tresnet_deploy import environment
from tresnet_deploy.environment import CpuTime, SystemFiles, contention, describe

CPUINFO = """processor : 0
model name\t: Example CPU 9000
flags\t\t: fpu avx2 avx512f avx512_vnni amx_bf16 hypervisor

processor : 1
model name\t: Example CPU 9000
"""
MEMINFO = "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\nHugePages_Total:       0\n"


@pytest.fixture
def files(tmp_path: Path) -> SystemFiles:
    (tmp_path / "cpuinfo").write_text(CPUINFO)
    (tmp_path / "meminfo").write_text(MEMINFO)
    governor = tmp_path / "cpu0/cpufreq/scaling_governor"
    governor.parent.mkdir(parents=True)
    governor.write_text("powersave\n")
    return SystemFiles(proc=tmp_path, cpu=tmp_path)


def test_a_machine_is_described_by_what_decides_its_speed(files: SystemFiles) -> None:
    facts = describe(files)
    assert facts["processor"] == "Example CPU 9000"
    assert facts["instructions"] == "AVX2, AVX-512, AVX-512 VNNI, AMX bf16"
    assert facts["virtual machine"] == "yes"
    assert facts["frequency governor"] == "powersave"
    assert facts["memory"] == "16.0 GiB, 8.0 GiB available"
    assert "numpy" in facts


def test_what_a_system_does_not_tell_is_left_out(tmp_path: Path) -> None:
    facts = describe(SystemFiles(proc=tmp_path, cpu=tmp_path))
    assert not {"instructions", "frequency governor", "memory", "virtual machine"} & facts.keys()
    assert all(facts.values())


def test_bf16_is_computed_only_where_the_processor_has_it(
    files: SystemFiles, tmp_path: Path
) -> None:
    assert environment.computes_bf16(files)
    (tmp_path / "cpuinfo").write_text(CPUINFO.replace("amx_bf16", ""))
    assert not environment.computes_bf16(files)


@pytest.mark.parametrize(
    ("machine", "flags", "overflows"),
    [
        ("x86_64", "avx2", True),
        ("x86_64", "avx2 avx512f", True),
        ("x86_64", "avx2 avx512f avx512_vnni", False),
        ("x86_64", "avx2 avx_vnni", False),
        ("x86_64", "avx2 avx512f amx_int8", False),
        ("AMD64", "", True),
        ("aarch64", "asimddp", False),
        ("arm64", "", False),
    ],
)
def test_x86_without_vnni_overflows_in_int8(
    tmp_path: Path, machine: str, flags: str, overflows: bool
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
    files = SystemFiles(proc=tmp_path, machine=machine)
    assert environment.overflows_int8(files) is overflows


def test_an_arm_processor_lists_features_not_flags(files: SystemFiles, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text("processor : 0\nFeatures : fp asimddp i8mm bf16\n")
    assert environment.instructions(files) == ("Arm dot product", "Arm int8 matrix", "Arm bf16")


def test_cpu_time_counts_the_cpus_this_process_may_use(
    files: SystemFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "usable_cpus", lambda: frozenset({1}))
    ticks = environment.os.sysconf("SC_CLK_TCK")
    mine = [4 * ticks, 0, ticks, 3 * ticks, ticks, 0, 0, ticks, 0, 0]
    other = [9 * ticks] * 10
    rows = (("cpu", other), ("cpu0", other), ("cpu1", mine))
    (tmp_path / "stat").write_text("\n".join(f"{n} {' '.join(map(str, t))}" for n, t in rows))
    spent = environment.cpu_time(files)
    assert spent is not None
    assert (spent.total_s, spent.idle_s, spent.stolen_s) == (10.0, 4.0, 1.0)


def test_contention_is_what_neither_we_nor_idling_took() -> None:
    before = CpuTime(total_s=0, idle_s=0, stolen_s=0, own_s=0)
    after = CpuTime(total_s=20, idle_s=4, stolen_s=1, own_s=12)
    found = contention(before, after)
    assert found is not None
    assert (found.others, found.stolen) == pytest.approx((0.15, 0.05))


def test_contention_is_unknown_where_the_system_does_not_tell(tmp_path: Path) -> None:
    assert environment.cpu_time(SystemFiles(proc=tmp_path)) is None
    assert contention(None, None) is None


def test_a_gpu_is_described_by_its_own_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    said = "NVIDIA A10, 580.1, 150 W, 1200 MHz, 1695 MHz, 41\n"
    done = subprocess.CompletedProcess([], 0, stdout=said)
    monkeypatch.setattr(environment.subprocess, "run", lambda *_, **__: done)
    assert describe()["GPU"] == said.strip()


def test_a_gpu_tool_that_hangs_or_fails_leaves_the_gpu_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("nvidia-smi", 10)

    monkeypatch.setattr(environment.shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr(environment.subprocess, "run", fail)
    assert "GPU" not in describe()
