"""Clocks, heat and throttling, from nvidia-smi's text; a script stands for the tool."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tresnet_deploy import gpu_watch
from tresnet_deploy.gpu_watch import Sample, Watch, samples_of, watched

# In the form of nvidia-smi --query-gpu=clocks.sm,clocks.mem,temperature.gpu,power.draw,
# clocks_event_reasons.active --format=csv,noheader,nounits: idle, working, capped, cut off.
LINES = """\
210, 405, 34, 28.51, 0x0000000000000001
1980, 10501, 52, 287.40, 0x0000000000000000
1965, 10501, 58, 319.97, 0x0000000000000004
1965, 10501, 58, [N/A], [N/A]
1950, 10501
"""


def sample(sm_mhz: float = 1980, reasons: int = 0) -> Sample:
    return Sample(sm_mhz=sm_mhz, memory_mhz=10501, temperature_c=60, power_w=300, reasons=reasons)


def test_lines_become_samples_and_a_line_cut_off_is_dropped() -> None:
    found = samples_of(LINES)
    assert [each.sm_mhz for each in found] == [210, 1980, 1965, 1965]
    assert [each.reasons for each in found] == [1, 0, 4, 0]
    assert found[3].power_w is None
    assert samples_of("") == ()
    assert samples_of("No devices were found\n") == ()


def test_the_environment_tells_of_the_working_gpu_only() -> None:
    watch = Watch(samples=samples_of(LINES), facts=("NVIDIA L4", "driver version 580.95"))
    assert watch.describe() == {
        "GPU settings": "NVIDIA L4, driver version 580.95",
        "GPU during the run": (
            "SM at 1965 MHz (1965 to 1980), memory at 10501 MHz, at most 58 °C, at most 320 W, "
            "throttled by power cap"
        ),
    }


def test_nothing_seen_is_nothing_said() -> None:
    assert Watch().describe() == {}
    assert list(Watch().doubts()) == []


def test_a_cool_locked_gpu_of_our_own_leaves_no_doubt() -> None:
    watch = Watch(samples=(sample(), sample(1965), sample()), processes=1)
    assert list(watch.doubts()) == []
    assert watch.describe()["GPU during the run"].endswith("not throttled")


def test_throttling_is_a_doubt_with_its_share_of_the_time() -> None:
    watch = Watch(samples=(sample(), sample(reasons=0x4), sample(reasons=0x44), sample()))
    assert list(watch.doubts()) == [
        "the GPU throttled (power cap) in 50% of the time",
        "the GPU throttled (hardware thermal slowdown) in 25% of the time",
    ]


def test_clocks_that_were_asked_for_are_no_throttling() -> None:
    assert list(Watch(samples=(sample(reasons=0x2), sample(reasons=0x100))).doubts()) == []


def test_a_floating_clock_is_a_doubt_with_the_command_that_locks_it() -> None:
    (doubt,) = Watch(samples=(sample(1980), sample(1410), sample(1950))).doubts()
    assert doubt == (
        "the GPU's clock moved between 1410 and 1980 MHz; lock it with nvidia-smi "
        "--lock-gpu-clocks=1950"
    )


def test_other_processes_on_the_gpu_are_a_doubt() -> None:
    assert list(Watch(processes=3).doubts()) == ["2 other processes used the GPU"]


TOOL = """#!/bin/sh
echo "$@" >> {log}
case "$*" in
  *loop-ms*) while true; do echo "1980, 10501, 52, 287.40, 0x0000000000000000"; sleep 0.01; done;;
  *name,*) echo "NVIDIA L4, 580.95.05, 95.04.29.00.06, 72.00 W, 2040 MHz, [N/A]";;
  *compute-apps*) echo 41; echo 42;;
  *{known}*) echo 0x0000000000000000;;
  *) echo "Field is not a valid field to query."; exit 2;;
esac
"""


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for nvidia-smi; what it is asked is written beside it."""
    path = tmp_path / "nvidia-smi"
    path.write_text(TOOL.format(log=tmp_path / "asked", known="clocks_event_reasons"))
    path.chmod(0o755)
    monkeypatch.setattr(gpu_watch.shutil, "which", lambda _name: str(path))
    return path


def test_the_gpu_is_watched_while_the_block_runs(tool: Path) -> None:
    with watched("00000000:01:00.0", every_ms=50) as watch:
        time.sleep(0.2)
    assert watch.samples
    assert watch.samples[0].sm_mhz == 1980
    assert watch.processes == 2
    assert watch.facts == (
        "NVIDIA L4",
        "driver version 580.95.05",
        "vbios version 95.04.29.00.06",
        "power limit 72.00 W",
        "clocks max sm 2040 MHz",
    )
    asked = (tool.parent / "asked").read_text().splitlines()
    assert all(line.startswith("--id=00000000:01:00.0 ") for line in asked)
    assert any("clocks_event_reasons.active" in line and "--loop-ms=50" in line for line in asked)


def test_an_older_driver_is_asked_under_the_older_name(tool: Path) -> None:
    text = TOOL.format(log=tool.parent / "asked", known="clocks_throttle_reasons")
    tool.write_text(text)
    with watched("00000000:01:00.0") as watch:
        time.sleep(0.1)
    assert watch.samples
    assert "clocks_throttle_reasons.active" in (tool.parent / "asked").read_text()


def test_a_block_that_fails_stops_the_watching_too(tool: Path) -> None:
    with pytest.raises(ValueError, match="broken"), watched("00000000:01:00.0"):
        raise ValueError("broken")


def test_without_the_tool_nothing_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_watch.shutil, "which", lambda _name: None)
    with watched("00000000:01:00.0") as watch:
        pass
    assert watch == Watch()


def test_a_driver_that_answers_nothing_is_no_error(tool: Path) -> None:
    tool.write_text("#!/bin/sh\necho 'NVIDIA-SMI has failed'\nexit 9\n")
    with watched("00000000:01:00.0") as watch:
        pass
    assert watch == Watch()
