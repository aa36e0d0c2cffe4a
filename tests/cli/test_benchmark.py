"""The benchmark command: real sessions of a tiny graph, a schedule of milliseconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, contestants
from tresnet_deploy.artifacts import from_json, to_json
from tresnet_deploy.contracts import Artifact, Batch, Labels, Source
from tresnet_deploy.results import BenchmarkReport

from .conftest import NAMES, Command, save_classifier

FAST = ("--rounds", 2, "--seconds", 0.005, "--quick", "--batches", "1,2")


@pytest.fixture
def engine(tmp_path: Path) -> Artifact:
    """A graph that ONNX Runtime runs as it is, filed as an engine."""
    path = tmp_path / "stripes.fp32.onnxruntime.onnx"
    artifact = save_classifier(path, labels=Labels(classes=len(NAMES), names=NAMES))
    filed = replace(
        artifact,
        kind="engine",
        step="build-engine",
        backend="onnxruntime",
        source=Source(kind="file", location="gone.safetensors", sha256="0" * 64),
    )
    artifacts.sidecar_of(path).write_bytes(to_json(filed))
    return filed


def test_benchmark_times_the_engines_of_a_folder_and_files_all_samples(
    command: Command, engine: Artifact, class_folders: Path
) -> None:
    folder = engine.path.parent
    done = command("benchmark", "-o", folder, "--images", class_folders, *FAST)
    assert done.code == 0, done.err
    assert "latency, batch 1" in done.out
    assert "throughput, batch 2" in done.out
    assert "onnxruntime fp32" in done.out
    assert "not for publication" in done.out
    assert "PyTorch is left out: the checkpoint gone.safetensors is not there any more" in done.err
    assert f"saved: {folder / 'benchmark.json'}" in done.err
    report = from_json((folder / "benchmark.json").read_bytes(), BenchmarkReport, name="report")
    assert [len(row.samples_ms) for row in report.rows] == [2, 2, 2]
    assert {row.parity for row in report.rows} == {"not checked"}


def test_benchmark_prints_json(command: Command, engine: Artifact, class_folders: Path) -> None:
    done = command(
        "benchmark", engine.path, "--format", "json", "--images", class_folders, *FAST, "-q"
    )
    assert done.code == 0, done.err
    report = from_json(done.out.encode(), BenchmarkReport, name="stdout")
    assert not report.publishable
    assert report.architecture == "tresnet_m"


def test_an_engine_that_passed_parity_is_marked_by_its_hash(
    command: Command, engine: Artifact, class_folders: Path, file_verdict: Callable[..., None]
) -> None:
    file_verdict(engine, passed=True)
    done = command("benchmark", engine.path, "--images", class_folders, *FAST)
    assert done.code == 0, done.err
    assert "onnxruntime fp32  pass" in done.out


def test_an_engine_that_failed_parity_shows_no_ratio_and_ends_with_1(
    command: Command, engine: Artifact, class_folders: Path, file_verdict: Callable[..., None]
) -> None:
    file_verdict(engine, passed=False)
    done = command("benchmark", engine.path, "--images", class_folders, *FAST, "-q")
    assert done.code == 1
    assert "no speed-up is claimed" in done.out
    row = next(line for line in done.out.splitlines() if "onnxruntime fp32  fail" in line)
    assert " - " in row
    assert "error: failed parity, so no speed-up counts: onnxruntime fp32" in done.err
    assert "try: tresnet-deploy compare" in done.err


def test_a_parity_report_of_other_bytes_says_nothing_about_an_engine(
    command: Command, engine: Artifact, class_folders: Path, file_verdict: Callable[..., None]
) -> None:
    file_verdict(replace(engine, sha256="f" * 64), passed=False)
    done = command("benchmark", engine.path, "--images", class_folders, *FAST)
    assert done.code == 0
    assert "not checked" in done.out


def another(engine: Artifact, **changed: object) -> Artifact:
    """The same graph, filed as a second engine."""
    path = engine.path.with_name("other.onnxruntime.onnx")
    shutil.copy(engine.path, path)
    filed = replace(engine, path=path, **changed)  # type: ignore[arg-type]
    artifacts.sidecar_of(path).write_bytes(to_json(filed))
    return filed


@pytest.mark.parametrize("order", [1, -1])
def test_a_speed_up_is_asked_of_the_engine_named_last_and_a_miss_ends_with_1(
    command: Command, engine: Artifact, class_folders: Path, order: int
) -> None:
    named = [engine.path, another(engine, precision="int8").path][::order]
    done = command(
        "benchmark", *named, "--images", class_folders, *FAST, "--min-speedup", 1000, "-q"
    )
    assert done.code == 1
    if order == 1:
        assert "error: onnxruntime int8 is " in done.err
        assert " times as fast as onnxruntime fp32 at the lower end (latency, batch 1)" in done.err
        assert ", not at least 1000\n" in done.err
    else:
        assert "onnxruntime fp32 was compared with nothing else" in done.err


def test_a_speed_up_over_nothing_is_not_shown(
    command: Command, engine: Artifact, class_folders: Path
) -> None:
    done = command(
        "benchmark", engine.path, "--images", class_folders, *FAST, "--min-speedup", 1, "-q"
    )
    assert done.code == 1
    assert done.err == (
        "error: onnxruntime fp32 was compared with nothing else, so --min-speedup 1 is not shown\n"
        "  try: --eager, or name another engine too\n"
    )


def test_a_speed_up_of_an_engine_that_was_not_timed_is_not_shown(
    command: Command, engine: Artifact, class_folders: Path
) -> None:
    pairs = another(engine, precision="int8", batch=Batch(min=2, opt=4, max=4))
    options = ("--images", class_folders, *FAST, "--batches", 1, "--min-speedup", 0)
    done = command("benchmark", engine.path, pairs.path, *options)
    assert done.code == 1
    assert "note: onnxruntime int8 takes batches of 2 to 4: left out at batch 1" in done.err
    assert "other.onnxruntime.onnx was not timed, so --min-speedup 0 is not shown" in done.err


def test_an_engine_that_takes_no_usual_batch_size_is_timed_at_its_own(
    command: Command, engine: Artifact, class_folders: Path
) -> None:
    pairs = another(engine, batch=Batch(min=2, opt=4, max=4))
    options = ("--images", class_folders, "--rounds", 2, "--seconds", 0.005, "--quick")
    done = command("benchmark", pairs.path, *options, "--format", "json")
    assert done.code == 0, done.err
    report = from_json(done.out.encode(), BenchmarkReport, name="stdout")
    assert {(row.scenario, row.batch) for row in report.rows} == {("throughput", 4)}

    refused = command("benchmark", pairs.path, *options, "--batches", "1,8")
    assert refused.code == 2
    assert refused.err.endswith(
        "error: no engine takes batches of 1 or 8\n  try: --batches 4, which they are built for\n"
    )


def test_two_engines_of_one_kind_are_told_apart_by_file(
    command: Command, engine: Artifact, class_folders: Path
) -> None:
    second = engine.path.with_name("other.fp32.onnxruntime.onnx")
    shutil.copy(engine.path, second)
    shutil.copy(artifacts.sidecar_of(engine.path), artifacts.sidecar_of(second))
    done = command("benchmark", "-o", engine.path.parent, "--images", class_folders, *FAST)
    assert done.code == 0, done.err
    assert "onnxruntime fp32, stripes.fp32.onnxruntime.onnx" in done.out
    assert "onnxruntime fp32, other.fp32.onnxruntime.onnx" in done.out


def test_engines_of_one_name_from_two_folders_are_told_apart_by_folder(
    command: Command, engine: Artifact, class_folders: Path, tmp_path: Path
) -> None:
    paths = [tmp_path / part / "deploy" / engine.path.name for part in ("s1", "s2")]
    for path in paths:
        path.parent.mkdir(parents=True)
        for source in (engine.path, artifacts.sidecar_of(engine.path)):
            shutil.copy(source, path.parent)
    again = paths[1].parent / ".." / "deploy" / engine.path.name
    done = command("benchmark", *paths, again, "--images", class_folders, *FAST)
    assert done.code == 0, done.err
    assert "onnxruntime fp32, s1/deploy/stripes.fp32.onnxruntime.onnx" in done.out
    assert "onnxruntime fp32, s2/deploy/stripes.fp32.onnxruntime.onnx" in done.out


def test_a_folder_without_engines_says_how_to_make_one(command: Command, tmp_path: Path) -> None:
    done = command("benchmark", "-o", tmp_path)
    assert (done.code, done.out) == (2, "")
    assert done.err == (
        f"error: there is no engine in {tmp_path}/\n"
        f"  try: tresnet-deploy build-engine --output {tmp_path}\n"
    )


@pytest.mark.parametrize("batches", ["0", "1,", "1,x", "-1", "1,99999"])
def test_batch_sizes_that_are_none_are_a_usage_error(command: Command, batches: str) -> None:
    done = command("benchmark", "--batches", batches)
    assert done.code == 2
    assert "is no list of numbers from 1 to 4096" in done.err


def test_a_parity_report_that_cannot_be_read_is_named(
    command: Command, engine: Artifact, class_folders: Path
) -> None:
    engine.path.with_name("parity.json").write_text("{")
    done = command("benchmark", engine.path, "--images", class_folders, *FAST)
    assert done.code == 2
    assert "parity.json is not a readable ParityReport" in done.err


def test_few_images_are_repeated_to_fill_a_batch(class_folders: Path) -> None:
    from tresnet_deploy.contracts import Preprocess
    from tresnet_deploy.images import scan

    images = scan(class_folders / "ant")
    pictures = contestants.pictures_of(images)
    batch = pictures(Preprocess(height_px=16, width_px=16), 8)
    assert batch.shape == (8, 3, 16, 16)
    assert (batch[0] == batch[5]).all()
    assert (batch[0] != batch[1]).any()
