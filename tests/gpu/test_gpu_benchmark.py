"""The benchmark command on a GPU: device times, the ladder, clocks, and NVIDIA's own tool."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tresnet_deploy.artifacts import from_json
from tresnet_deploy.backends._pytorch_cuda import LADDER
from tresnet_deploy.results import BenchmarkReport

from .conftest import Engine

pytestmark = pytest.mark.gpu
Record = Callable[[str, object], None]
MEDIAN = re.compile(r"GPU Compute Time:.*?median = ([0-9.]+) ms")
CLOSE = 0.1  # of trtexec's median: it enqueues one run ahead, we wait for each


def command(*words: object) -> subprocess.CompletedProcess[str]:
    program = "from tresnet_deploy.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )


@pytest.fixture(scope="module")
def report(backend: str, engine: Engine) -> BenchmarkReport:
    made = engine(backend)
    done = command("benchmark", made.path, "--format", "json", "--batches", "1,8", "--seconds", 0.5)
    assert done.returncode == 0, done.stderr
    return from_json(done.stdout.encode(), BenchmarkReport, name="stdout")


@pytest.mark.timeout(1500)
def test_the_whole_ladder_is_timed_beside_the_engine(
    report: BenchmarkReport, record_property: Record
) -> None:
    rows = {row.name: row for row in report.rows if row.scenario == "latency"}
    for name, row in rows.items():
        record_property(name, f"{row.p50_ms:.3f} ms")
    assert {options.name for options in LADDER} <= set(rows)
    ours = [row for row in rows.values() if row.backend != "pytorch"]
    assert {row.cuda_graph for row in ours} == {True, False}
    for row in rows.values():
        assert row.device_p50_ms is not None
        assert 0 < row.device_p50_ms <= row.p50_ms
        assert row.memory_mib is not None
        assert row.cosine_min is not None
        assert row.cosine_min > 0.9


def test_clocks_and_versions_are_logged(report: BenchmarkReport, record_property: Record) -> None:
    seen = report.environment["GPU during the run"]
    record_property("seen", seen)
    assert "MHz" in seen
    assert "driver version" in report.environment["GPU settings"]


def test_nvidias_own_tool_agrees(report: BenchmarkReport, record_property: Record) -> None:
    rows = [row for row in report.rows if row.equivalent and row.scenario == "latency"]
    words = shlex.split(rows[0].equivalent or "")
    if shutil.which(words[0]) is None:
        pytest.skip(f"not for this GPU: {words[0]} is not on the PATH here; it ships apart")
    for row in rows:
        done = subprocess.run(
            shlex.split(row.equivalent or ""), capture_output=True, text=True, check=True
        )
        match = MEDIAN.search(done.stdout)
        assert match is not None, done.stdout[-2000:]
        theirs = float(match[1])
        assert row.device_p50_ms is not None
        record_property(row.name, f"{row.device_p50_ms:.3f} ms, {words[0]} {theirs:.3f} ms")
        assert abs(row.device_p50_ms - theirs) <= CLOSE * theirs


def test_copies_take_longer(backend: str, engine: Engine, tmp_path: Path) -> None:
    made = engine(backend)
    found = []
    for extra in ((), ("--include-transfers",)):
        words = ("--quick", "--no-eager", "--batches", "16", *extra)
        done = command("benchmark", made.path, "--format", "json", *words)
        assert done.returncode == 0, done.stderr
        rows = json.loads(done.stdout)["rows"]
        found.append(min(row["device_p50_ms"] for row in rows if row["batch"] == 16))
    assert found[1] > found[0]


def test_compare_evaluates_the_engine_against_eager_pytorch(backend: str, engine: Engine) -> None:
    done = command("compare", engine(backend).path)
    assert done.returncode == 0, done.stdout + done.stderr
