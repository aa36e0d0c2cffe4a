"""A file appears only when it is whole: publishing, locking, full disks and killed runs."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError

# A run that publishes `model.onnx` with one companion, and is cut off by what `{sabotage}` does.
RUN = """
import dataclasses, os, pathlib, signal, sys
from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact

folder = pathlib.Path(sys.argv[1])
artifact = artifacts.from_json(sys.stdin.buffer.read(), Artifact, name="stdin")
{sabotage}
with artifacts.publishing(folder / "model.onnx", overwrite=True) as staging:
    staging.path.write_bytes(b"half")
    if sys.argv[2:] == ["wait"]:
        print("ready", flush=True)
        signal.pause()
    staging.path.write_bytes(b"new")
    staging.path.with_name("model.bin").write_bytes(b"new")
    staging.finish(artifact)
"""
DIE_AT_RENAME = """
renames = 0
rename = pathlib.Path.replace
def counted(self, target):
    global renames
    renames += 1
    if renames == {nth}:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
pathlib.Path.replace = counted
"""
TINY_FILES_ONLY = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (2, 2))
"""


def run(folder: Path, artifact: Artifact, sabotage: str = "") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", RUN.format(sabotage=sabotage), str(folder)],
        input=artifacts.to_json(artifact),
        capture_output=True,
        check=False,
    )


def publish(
    target: Path, artifact: Artifact, data: bytes = b"data", *, overwrite: bool
) -> Artifact:
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        staging.path.write_bytes(data)
        return staging.finish(artifact)


def break_half_way(target: Path, error: Exception, *, overwrite: bool) -> None:
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        staging.path.write_bytes(b"half")
        raise error


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if ".partial" in path.name]


def test_a_published_file_lies_beside_its_sidecar_and_reads_back_equal(
    tmp_path: Path, artifact: Artifact
) -> None:
    done = publish(tmp_path / "deploy" / "model.onnx", artifact, overwrite=False)
    assert visible(tmp_path / "deploy") == ["model.onnx", "model.onnx.json"]
    assert artifacts.read(done.path) == done
    assert done.created
    assert done.versions["tresnet-deploy"]


def test_companions_are_published_and_hashed_with_their_file(
    tmp_path: Path, artifact: Artifact
) -> None:
    with artifacts.publishing(tmp_path / "model.xml", overwrite=False) as staging:
        staging.path.write_bytes(b"graph")
        staging.path.with_name("model.bin").write_bytes(b"weights")
        done = staging.finish(artifact)
    assert [companion.name for companion in done.companions] == ["model.bin"]
    assert visible(tmp_path) == ["model.bin", "model.xml", "model.xml.json"]


def test_nothing_appears_when_the_step_breaks(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="broke"):
        break_half_way(tmp_path / "model.onnx", RuntimeError("broke"), overwrite=False)
    assert visible(tmp_path) == []
    assert leftovers(tmp_path) == []


def test_nothing_appears_when_finish_was_never_called(tmp_path: Path) -> None:
    with artifacts.publishing(tmp_path / "model.onnx", overwrite=False) as staging:
        staging.path.write_bytes(b"unverified")
    assert visible(tmp_path) == []


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.json"])
def test_an_existing_file_or_sidecar_is_kept_without_overwrite(
    tmp_path: Path, artifact: Artifact, name: str
) -> None:
    (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists already") as caught:
        publish(tmp_path / "model.onnx", artifact, overwrite=False)
    assert "--overwrite" in caught.value.hints[0]
    assert (tmp_path / name).read_bytes() == b"mine"


def test_a_companion_does_not_replace_a_stranger_without_overwrite(
    tmp_path: Path, artifact: Artifact
) -> None:
    (tmp_path / "model.bin").write_bytes(b"mine")
    with artifacts.publishing(tmp_path / "model.xml", overwrite=False) as staging:
        staging.path.write_bytes(b"graph")
        staging.path.with_name("model.bin").write_bytes(b"weights")
        with pytest.raises(UsageError, match=r"model\.bin exists already"):
            staging.finish(artifact)
    assert visible(tmp_path) == ["model.bin"]
    assert (tmp_path / "model.bin").read_bytes() == b"mine"


def test_overwrite_replaces_file_and_sidecar(tmp_path: Path, artifact: Artifact) -> None:
    publish(tmp_path / "model.onnx", artifact, b"old", overwrite=False)
    done = publish(tmp_path / "model.onnx", artifact, b"new", overwrite=True)
    assert done.path.read_bytes() == b"new"
    assert artifacts.read(done.path) == done


def test_a_broken_overwrite_leaves_the_old_artefact_whole(
    tmp_path: Path, artifact: Artifact
) -> None:
    old = publish(tmp_path / "model.onnx", artifact, b"old", overwrite=False)
    with pytest.raises(RuntimeError, match="broke"):
        break_half_way(old.path, RuntimeError("broke"), overwrite=True)
    assert artifacts.read(old.path) == old


@pytest.mark.parametrize("nth", [1, 2, 3])
def test_a_run_killed_between_renames_leaves_nothing_that_looks_finished(
    tmp_path: Path, artifact: Artifact, nth: int
) -> None:
    publish(tmp_path / "model.onnx", artifact, b"old", overwrite=False)
    killed = run(tmp_path, artifact, DIE_AT_RENAME.format(nth=nth))
    assert killed.returncode == -signal.SIGKILL
    with pytest.raises(ArtifactError, match="never finished"):
        artifacts.read(tmp_path / "model.onnx")
    assert run(tmp_path, artifact).returncode == 0
    assert artifacts.read(tmp_path / "model.onnx").companions
    assert leftovers(tmp_path) == []


@pytest.fixture
def waiting_run(
    tmp_path: Path, artifact: Artifact
) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", RUN.format(sabotage=""), str(tmp_path), "wait"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        assert process.stdin
        assert process.stdout
        process.stdin.write(artifacts.to_json(artifact))
        process.stdin.close()
        assert process.stdout.readline() == b"ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def test_a_run_killed_half_way_leaves_no_file_and_no_lock(
    tmp_path: Path, artifact: Artifact, waiting_run: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = waiting_run()
    process.kill()
    process.wait()
    assert visible(tmp_path) == []
    publish(tmp_path / "model.onnx", artifact, overwrite=False)
    assert leftovers(tmp_path) == []


def test_an_interrupted_run_cleans_up_at_once(
    tmp_path: Path, waiting_run: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = waiting_run()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) != 0
    assert visible(tmp_path) == []
    assert leftovers(tmp_path) == []


def test_a_second_run_on_the_same_folder_is_turned_away(
    tmp_path: Path, artifact: Artifact, waiting_run: Callable[[], subprocess.Popen[bytes]]
) -> None:
    waiting_run()
    with pytest.raises(UnavailableError, match="another tresnet-deploy is writing") as caught:
        publish(tmp_path / "other.onnx", artifact, overwrite=False)
    assert "--output" in caught.value.hints[0]
    assert visible(tmp_path) == []


def test_one_process_may_publish_while_it_holds_the_folder(
    tmp_path: Path, artifact: Artifact
) -> None:
    with artifacts.locked(tmp_path):
        publish(tmp_path / "a.onnx", artifact, overwrite=False)
        publish(tmp_path / "b.onnx", artifact, overwrite=False)
    assert visible(tmp_path) == ["a.onnx", "a.onnx.json", "b.onnx", "b.onnx.json"]


def test_a_read_only_folder_is_one_error_that_names_it(
    read_only_folder: Path, artifact: Artifact
) -> None:
    with pytest.raises(UnavailableError, match="Permission denied") as caught:
        publish(read_only_folder / "model.onnx", artifact, overwrite=False)
    assert str(read_only_folder) in caught.value.message
    assert caught.value.exit_code == 3


def test_a_report_in_a_read_only_folder_is_one_error(read_only_folder: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot write"):
        artifacts.write_whole(read_only_folder / "report.html", b"<html>")
    assert [path.name for path in read_only_folder.iterdir()] == ["old.onnx"]


def test_a_folder_that_cannot_be_made_is_one_error(tmp_path: Path, artifact: Artifact) -> None:
    (tmp_path / "deploy").write_bytes(b"a file, not a folder")
    with pytest.raises(UnavailableError, match="cannot write"):
        publish(tmp_path / "deploy" / "model.onnx", artifact, overwrite=False)


def test_a_file_size_limit_is_reported_and_leaves_nothing(
    tmp_path: Path, artifact: Artifact
) -> None:
    stopped = run(tmp_path, artifact, TINY_FILES_ONLY)
    assert b"UnavailableError: cannot write to" in stopped.stderr
    assert b"File too large" in stopped.stderr
    assert visible(tmp_path) == []


def test_a_disk_that_fills_while_the_step_writes_is_reported_with_its_free_space(
    tmp_path: Path,
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(UnavailableError, match=r"full \(\d+ MiB free\); nothing was written"):
        break_half_way(tmp_path / "model.onnx", full, overwrite=False)
    assert visible(tmp_path) == []
    assert leftovers(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system needs root's powers")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_really_full_disk_leaves_the_old_artefact_whole(
    tiny_disk: Path, artifact: Artifact
) -> None:
    old = publish(tiny_disk / "model.onnx", artifact, b"old", overwrite=False)
    with pytest.raises(UnavailableError, match=r"is full"):
        publish(tiny_disk / "model.onnx", artifact, b"x" * 100_000, overwrite=True)
    with pytest.raises(UnavailableError, match=r"is full"):
        artifacts.write_whole(tiny_disk / "report.html", b"x" * 100_000)
    assert artifacts.read(old.path) == old
    assert visible(tiny_disk) == ["model.onnx", "model.onnx.json"]
    assert leftovers(tiny_disk) == []


def test_trouble_of_the_step_itself_is_not_blamed_on_the_folder(
    tmp_path: Path, artifact: Artifact
) -> None:
    missing = FileNotFoundError(errno.ENOENT, "No such file", str(tmp_path / "photo.jpg"))
    with pytest.raises(FileNotFoundError):
        break_half_way(tmp_path / "deploy" / "model.onnx", missing, overwrite=False)


def test_a_report_replaces_an_older_one_and_leaves_no_partial_file(tmp_path: Path) -> None:
    artifacts.write_whole(tmp_path / "out" / "report.html", b"old")
    artifacts.write_whole(tmp_path / "out" / "report.html", b"new")
    assert (tmp_path / "out" / "report.html").read_bytes() == b"new"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.html"]
