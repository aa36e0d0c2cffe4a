"""Commands without arguments take the youngest fitting artefact of the folder."""

import logging
from pathlib import Path

import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import ArtifactError, UsageError


def publish(folder: Path, name: str, artifact: Artifact) -> Artifact:
    with artifacts.publishing(folder / name, overwrite=True) as staging:
        staging.path.write_bytes(name.encode())
        return staging.finish(artifact)


def newest(folder: Path) -> Artifact:
    return artifacts.newest(
        folder,
        want=lambda found: found.kind == "onnx",
        what="ONNX file",
        how="tresnet-deploy export",
    )


def test_the_youngest_wins_by_its_own_time_not_by_the_file_system(
    tmp_path: Path, artifact: Artifact
) -> None:
    publish(tmp_path, "z.onnx", artifact)
    young = publish(tmp_path, "a.onnx", artifact)
    (tmp_path / "z.onnx").touch()
    assert newest(tmp_path) == young


def test_what_does_not_fit_is_passed_over(tmp_path: Path, artifact: Artifact) -> None:
    fitting = publish(tmp_path, "a.onnx", artifact)
    found = artifacts.newest(
        tmp_path, want=lambda each: each.path.suffix == ".onnx", what="ONNX file", how="export"
    )
    assert found == fitting


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_or_missing_folder_names_the_command_that_fills_it(
    tmp_path: Path, exists: bool
) -> None:
    folder = tmp_path if exists else tmp_path / "deploy"
    with pytest.raises(UsageError, match="there is no ONNX file in") as caught:
        newest(folder)
    assert caught.value.hints == (f"tresnet-deploy export --output {folder}",)


def test_json_files_that_are_no_sidecars_are_ignored(tmp_path: Path, artifact: Artifact) -> None:
    (tmp_path / "parity.json").write_text("{}")
    found = publish(tmp_path, "a.onnx", artifact)
    assert newest(tmp_path) == found


def test_an_unreadable_sidecar_is_passed_over_with_a_warning(
    tmp_path: Path, artifact: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    found = publish(tmp_path, "a.onnx", artifact)
    (tmp_path / "b.onnx").write_bytes(b"data")
    (tmp_path / "b.onnx.json").write_text('{"schema_version": 99}')
    with caplog.at_level(logging.WARNING):
        assert newest(tmp_path) == found
    assert "passing over" in caplog.text
    assert "b.onnx" in caplog.text


def test_the_chosen_file_is_fully_checked(tmp_path: Path, artifact: Artifact) -> None:
    publish(tmp_path, "a.onnx", artifact)
    (tmp_path / "a.onnx").write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is not the file"):
        newest(tmp_path)
