"""make test-gpu cannot pass without a GPU, nor by skipping: its plugin, run on small tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tresnet_deploy import gpus

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
FAKE_GPU = """
from tresnet_deploy import gpus
gpus.visible = lambda: (gpus.Gpu(name="NVIDIA L4", capability=(8, 9), memory_mib=23034),)
gpus.driver_version = lambda: "13.0"
"""
TESTS = """
import pytest
pytestmark = pytest.mark.gpu

def test_that_measures(record_property):
    record_property("least cosine", 0.999)

def test_for_another_gpu():
    pytest.skip("not for this GPU: no target of TensorRT-RTX")

{more}
"""
SKIPS = """
def test_that_skips():
    pytest.skip("TensorRT is not installed")
"""


def gated(folder: Path, *arguments: str, fake: bool, more: str = "") -> tuple[int, str]:
    """Run small tests under the gate, on a machine that has a GPU as far as it is told."""
    (folder / "site").mkdir()
    (folder / "site" / "fake_gpu.py").write_text(FAKE_GPU if fake else "")
    (folder / "test_small.py").write_text(TESTS.format(more=more))
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = gpu\naddopts = -p no:cacheprovider\n")
    plugins = ("-p", "fake_gpu", "-p", "gpu_gate")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-m", "gpu", *arguments, "test_small.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{folder / 'site'}:{HERE}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_without_a_gpu_the_run_fails_before_its_first_test(tmp_path: Path) -> None:
    if gpus.visible():
        pytest.skip("there is a GPU here")
    code, said = gated(tmp_path, fake=False)
    assert code == 1
    assert "no NVIDIA GPU is visible: these tests prove nothing without one" in said
    assert "passed" not in said


def test_on_a_gpu_what_passed_is_a_table_to_paste(tmp_path: Path) -> None:
    code, said = gated(tmp_path, fake=True)
    assert code == 0, said
    assert "GPU: NVIDIA L4 (compute capability 8.9); CUDA of the driver: 13.0" in said
    assert "| test_small.py::test_that_measures | passed | 0.0 | least cosine 0.999 |" in said
    row = "| test_small.py::test_for_another_gpu | skipped | 0.0 | not for this GPU: no target"
    assert row in said


def test_a_skip_without_a_reason_in_the_gpu_is_a_failure(tmp_path: Path) -> None:
    code, said = gated(tmp_path, fake=True, more=SKIPS)
    assert code == 1
    assert "skipped where nothing may be: TensorRT is not installed" in said
    row = "| test_small.py::test_that_skips | failed | 0.0 | skipped where nothing may be: TensorRT"
    assert row in said


def test_a_failure_is_in_the_table_with_its_reason(tmp_path: Path) -> None:
    code, said = gated(tmp_path, fake=True, more="def test_wrong():\n    assert 1 == 2, 'NaN'\n")
    assert code == 1
    assert "| test_small.py::test_wrong | failed | 0.0 | AssertionError: NaN |" in said


def test_a_run_in_which_nothing_ran_is_a_failure(tmp_path: Path) -> None:
    code, _ = gated(tmp_path, "-k", "another", fake=True)
    assert code == 1


def test_make_test_gpu_runs_every_gpu_test_under_the_gate() -> None:
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("\ntest-gpu:")[2].partition("\n\n")[0]
    assert "PYTHONPATH=tests/gpu" in recipe
    assert "-p gpu_gate -m gpu" in recipe
    assert "tests/" not in recipe.rpartition("pytest")[2]
