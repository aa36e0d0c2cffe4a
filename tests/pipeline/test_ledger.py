"""Keys of files: equal for equal settings, never trusted beyond the bytes they stand for."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, ledger
from tresnet_deploy.contracts import Artifact, Batch, Labels, Preprocess, Source, TensorSpec
from tresnet_deploy.errors import ArtifactError, UsageError


@pytest.fixture
def filed(tmp_path: Path) -> Artifact:
    """A finished file, filed under the key "k"."""
    spec = TensorSpec(name="x", dtype="float32", shape=(1,))
    described = Artifact(
        path=tmp_path / "m.onnx",
        kind="onnx",
        step="export",
        sha256="",
        architecture="m",
        precision="fp32",
        inputs=(spec,),
        outputs=(spec,),
        preprocess=Preprocess(),
        labels=Labels(classes=1),
        source=Source(kind="random", location="", sha256="0"),
    )
    with artifacts.publishing(described.path, overwrite=False) as staging:
        staging.path.write_bytes(b"graph")
        done = staging.finish(described)
    ledger.add(done.path, "k")
    return done


def test_a_key_depends_on_step_and_every_part() -> None:
    batch = Batch()
    keys = {
        ledger.key_of("export", "a", batch),
        ledger.key_of("build", "a", batch),
        ledger.key_of("export", "b", batch),
        ledger.key_of("export", "a", replace(batch, max=32)),
        ledger.key_of("export", "a"),
    }
    assert len(keys) == 5
    assert ledger.key_of("export", "a", batch) == ledger.key_of("export", "a", Batch())


def test_a_file_is_known_under_its_own_key(filed: Artifact) -> None:
    assert ledger.known(filed.path, "k") == filed


def test_a_file_that_is_not_there_is_not_known(tmp_path: Path) -> None:
    assert ledger.known(tmp_path / "m.onnx", "k") is None


def test_a_file_made_under_another_key_is_refused(filed: Artifact) -> None:
    with pytest.raises(UsageError, match=r"m\.onnx exists already"):
        ledger.known(filed.path, "other")


def test_a_file_whose_bytes_changed_is_refused(filed: Artifact) -> None:
    filed.path.write_bytes(b"other")
    with pytest.raises(ArtifactError, match="is not the file that"):
        ledger.known(filed.path, "k")


def test_keys_of_other_files_stay(filed: Artifact) -> None:
    ledger.add(filed.path.with_name("n.onnx"), "other")
    assert ledger.read(filed.path.parent).keys == {"m.onnx": "k", "n.onnx": "other"}


def test_a_damaged_ledger_counts_as_empty_with_a_warning(
    filed: Artifact, caplog: pytest.LogCaptureFixture
) -> None:
    (filed.path.parent / ledger.FILE).write_text("{")
    with caplog.at_level(logging.WARNING, "tresnet_deploy"):
        assert ledger.read(filed.path.parent).keys == {}
    assert "passing over" in caplog.text


def test_the_ledger_is_no_artefact_of_the_folder(filed: Artifact) -> None:
    found = artifacts.listed(filed.path.parent, want=lambda _: True)
    assert [each.path.name for each in found] == ["m.onnx"]
