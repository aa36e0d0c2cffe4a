"""A sidecar is checked before its file is trusted: damaged, hostile and foreign ones."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError


@pytest.fixture
def published(tmp_path: Path, artifact: Artifact) -> Artifact:
    with artifacts.publishing(tmp_path / "model.xml", overwrite=False) as staging:
        staging.path.write_bytes(b"graph")
        staging.path.with_name("model.bin").write_bytes(b"weights")
        return staging.finish(artifact)


def rewrite(artifact: Artifact, change: Callable[[dict[str, Any]], object]) -> None:
    sidecar = artifacts.sidecar_of(artifact.path)
    fields = json.loads(sidecar.read_bytes())
    change(fields)
    sidecar.write_text(json.dumps(fields))


def test_every_field_survives_the_way_through_json(artifact: Artifact) -> None:
    full = dataclasses.replace(
        artifact,
        path=Path("model.onnx"),
        batch=Batch(min=1, opt=4, max=8),
        settings={"opset": 18, "normalize": True, "exclude": None, "factor": 0.5},
        versions={"torch": "2"},
        verified="eager, 1e-5",
    )
    assert artifacts.from_json(artifacts.to_json(full), Artifact, name="it") == full


def test_the_sidecar_stores_only_the_name_so_that_a_folder_can_move(
    tmp_path: Path, published: Artifact
) -> None:
    assert str(tmp_path) not in artifacts.sidecar_of(published.path).read_text()
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    assert artifacts.read(moved / "model.xml").path == moved / "model.xml"


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        artifacts.read(tmp_path / "model.onnx")


def test_a_file_without_a_sidecar_was_never_finished(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"data")
    with pytest.raises(ArtifactError, match=r"no sidecar model\.onnx\.json") as caught:
        artifacts.read(tmp_path / "model.onnx")
    assert caught.value.hints


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_changed_file_or_companion_is_refused(published: Artifact, name: str) -> None:
    published.path.with_name(name).write_bytes(b"other bytes")
    with pytest.raises(ArtifactError, match=rf"{name} is not the file"):
        artifacts.read(published.path)


def test_a_missing_companion_is_refused(published: Artifact) -> None:
    published.path.with_name("model.bin").unlink()
    with pytest.raises(ArtifactError, match=r"model\.bin, which does not lie beside it"):
        artifacts.read(published.path)


@pytest.mark.parametrize(
    "name", ["../model.bin", "/etc/passwd", "..", ".", "", "a/b", "a\\b", "nul\0byte"]
)
def test_a_companion_outside_the_folder_is_refused(published: Artifact, name: str) -> None:
    rewrite(published, lambda fields: fields["companions"][0].update(name=name))
    with pytest.raises(ArtifactError, match="no plain file name"):
        artifacts.read(published.path)


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_another_schema_version_is_named_with_the_one_that_is_read(
    published: Artifact, version: object
) -> None:
    rewrite(published, lambda fields: fields.update(schema_version=version))
    with pytest.raises(ArtifactError, match=r"schema_version .* this version reads 1") as caught:
        artifacts.read(published.path)
    assert caught.value.hints


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'{"schema_version": 1}',
        b"[" * 100_000,
        b'{"schema_version": 1, "path": 5}',
        b'{"schema_version": 1, "path": "\x82"}',
    ],
    ids=["empty", "binary", "null", "list", "no fields", "deep", "wrong type", "no UTF-8"],
)
def test_a_malformed_sidecar_is_one_error_that_names_it(published: Artifact, data: bytes) -> None:
    artifacts.sidecar_of(published.path).write_bytes(data)
    with pytest.raises(ArtifactError, match=r"model\.xml\.json"):
        artifacts.read(published.path)


def test_an_endless_sidecar_is_not_read_into_memory(published: Artifact) -> None:
    with artifacts.sidecar_of(published.path).open("wb") as sidecar:
        sidecar.truncate(1 << 40)
    with pytest.raises(ArtifactError, match="too large"):
        artifacts.read(published.path)


def test_a_folder_out_of_reach_is_an_environment_error(
    published: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(artifacts, "sha256_of", refuse)
    with pytest.raises(UnavailableError, match=r"cannot read .*: Permission denied"):
        artifacts.read(published.path)
