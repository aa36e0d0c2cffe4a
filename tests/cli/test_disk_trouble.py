"""A real export into a folder that takes no more bytes, or none at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ("export", "--variant", "s_x0.25", "--weights", "random", "--image-size", "32", "-q")
# Files of at most 100 kB: the network takes megabytes.
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from tresnet_deploy.cli import main
main()
"""


def export(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program, *SMALL, "--output", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_export_that_outgrows_the_disk_is_one_error_and_leaves_nothing(tmp_path: Path) -> None:
    done = export(LIMITED, tmp_path / "deploy")
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr == (
        f"error: cannot write to {tmp_path}/deploy/: File too large; nothing was written\n"
        "  try: choose another folder with --output\n"
    )
    assert [path.name for path in (tmp_path / "deploy").iterdir()] == [".tresnet-deploy.lock"]


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="needs a read-only /sys, as Linux has")
def test_an_export_to_where_nothing_can_be_written_is_one_error() -> None:
    folder = Path("/sys/kernel/deploy")
    done = export("from tresnet_deploy.cli import main; main()", folder)
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: cannot write to {folder}/: ")
    assert "Traceback" not in done.stderr
    assert not os.path.lexists(folder)
