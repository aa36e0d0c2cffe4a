"""What inspect says of engines: origin, runtime and verdict, without loading anything."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact, FileDigest
from tresnet_deploy.errors import ArtifactError, UsageError
from tresnet_deploy.inspection import EngineReport, inspect


def publish(path: Path, artifact: Artifact, data: bytes) -> Artifact:
    with artifacts.publishing(path, overwrite=True) as staging:
        staging.path.write_bytes(data)
        return staging.finish(artifact)


@pytest.fixture
def graph(tmp_path: Path, artifact: Artifact) -> Artifact:
    return publish(tmp_path / "m.int8.onnx", artifact, b"graph")


@pytest.fixture
def engine(tmp_path: Path, artifact: Artifact, graph: Artifact) -> Artifact:
    described = dataclasses.replace(
        artifact,
        kind="engine",
        step="build",
        precision="int8",
        backend="no-such-runtime",
        device="CPU of a test",
        parents=(
            FileDigest(name=graph.path.name, sha256=graph.sha256),
            FileDigest(name="m.onnx", sha256="1" * 64),
        ),
    )
    return publish(tmp_path / "m.int8.engine", described, b"engine")


def report_on(engine: Artifact) -> EngineReport:
    report = inspect(engine.path)
    assert isinstance(report, EngineReport)
    return report


def test_an_engine_is_described_by_its_sidecar(engine: Artifact) -> None:
    report = report_on(engine)
    assert report.artifact == engine
    assert report.size_mib == pytest.approx(6 / 2**20)


def test_each_parent_is_here_missing_or_made_anew(engine: Artifact, artifact: Artifact) -> None:
    assert [parent.state for parent in report_on(engine).parents] == ["here", "missing"]
    publish(engine.path.with_name("m.int8.onnx"), artifact, b"another graph")
    assert report_on(engine).parents[0].state == "made anew"


def test_a_parent_is_only_looked_for_beside_the_engine(engine: Artifact, tmp_path: Path) -> None:
    outside = dataclasses.replace(
        engine, parents=(FileDigest(name="../../etc/passwd", sha256="1" * 64),)
    )
    path = publish(tmp_path / "hostile.engine", outside, b"engine")
    assert report_on(path).parents[0].state == "missing"


def test_a_missing_runtime_is_said_not_raised(engine: Artifact) -> None:
    runtime = report_on(engine).runtime
    assert not runtime.usable
    assert "no-such-runtime" in runtime.reason


def test_without_a_parity_report_there_is_no_verdict(engine: Artifact) -> None:
    assert report_on(engine).verdict is None


@pytest.mark.parametrize(("passed", "failed"), [(True, ()), (False, ("same top-1",))])
def test_the_verdict_on_these_bytes_is_found(
    engine: Artifact,
    file_verdict: Callable[..., None],
    passed: bool,
    failed: tuple[str, ...],
) -> None:
    file_verdict(engine, passed=passed)
    found = report_on(engine).verdict
    assert found is not None
    assert found.passed == passed
    assert found.failed_gates == failed


def test_a_verdict_on_an_older_build_is_none(
    engine: Artifact, file_verdict: Callable[..., None]
) -> None:
    file_verdict(dataclasses.replace(engine, sha256="2" * 64), passed=True)
    assert report_on(engine).verdict is None


def test_an_unreadable_parity_report_is_no_verdict(engine: Artifact) -> None:
    engine.path.with_name("parity.json").write_text("{}")
    assert report_on(engine).verdict is None


@pytest.mark.parametrize("name", ["m.openvino.xml", "m.pt2", "m.plan"])
def test_an_engine_without_its_sidecar_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"engine")
    with pytest.raises(ArtifactError, match="has no sidecar"):
        inspect(tmp_path / name)


def test_changed_engine_bytes_are_refused(engine: Artifact) -> None:
    engine.path.write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is not the file"):
        inspect(engine.path)


def test_a_missing_engine_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        inspect(tmp_path / "m.plan")
