"""From options to one source of weights, and from a source to the network it was made from."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tresnet.errors import CheckpointMismatchError, UnknownVariantError
from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError
from tresnet_deploy.weights import load, published, resolve

NOWHERE = "http://127.0.0.1:9"


def test_a_file_is_named_by_its_whole_path_and_hash(
    miil_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(miil_file.parent)
    source = resolve(checkpoint=Path(miil_file.name))
    assert source.kind == "file"
    assert source.location == str(miil_file)
    assert source.sha256 == sha256_of(miil_file)


def test_a_file_loads_with_its_class_names(miil_file: Path) -> None:
    checkpoint = load(resolve(checkpoint=miil_file))
    assert checkpoint.class_names == ("cat", "dog", "owl")
    assert checkpoint.gammas == "absolute"
    assert not checkpoint.model.training


def test_overrides_reach_the_network(miil_file: Path) -> None:
    checkpoint = load(resolve(checkpoint=miil_file, gammas="plain", stem_slope=0.25))
    assert checkpoint.gammas == "plain"
    assert checkpoint.architecture.slopes.stem == 0.25
    assert checkpoint.architecture.slopes.block == 1e-3


def test_a_file_may_be_held_to_a_variant_and_a_class_count(miil_file: Path) -> None:
    assert load(resolve(checkpoint=miil_file, variant="m_x0.25", classes=3)).path == miil_file


def test_a_wrong_class_count_names_both_numbers(miil_file: Path) -> None:
    with pytest.raises(CheckpointMismatchError, match=r"3 classes.* 80 classes"):
        load(resolve(checkpoint=miil_file, classes=80))


def test_a_wrong_variant_names_what_the_file_holds(miil_file: Path) -> None:
    with pytest.raises(CheckpointMismatchError, match="not of tresnet_l"):
        load(resolve(checkpoint=miil_file, variant="l"))


def test_a_hub_folder_stands_for_the_weights_in_it(miil_file: Path, tmp_path: Path) -> None:
    shutil.copy(miil_file, tmp_path / "model.safetensors")
    assert resolve(checkpoint=tmp_path).location == str(tmp_path / "model.safetensors")


def test_a_folder_without_weights_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no model\.safetensors or pytorch_model\.bin"):
        resolve(checkpoint=tmp_path)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no checkpoint"):
        resolve(checkpoint=tmp_path / "nothing.pth")


def test_a_file_and_a_tag_are_two_sources(miil_file: Path) -> None:
    with pytest.raises(UsageError, match="two sources of weights"):
        resolve(checkpoint=miil_file, tag="miil_in1k")


def test_no_source_at_all_shows_how_to_name_one() -> None:
    with pytest.raises(UsageError, match="which weights") as caught:
        resolve()
    assert "--variant l" in caught.value.hints


def test_an_unknown_variant_is_refused_before_anything_is_fetched() -> None:
    with pytest.raises(UnknownVariantError, match="no variant is called 'xxl'"):
        resolve(variant="xxl", endpoint=NOWHERE)


def test_a_published_file_of_another_class_count_is_refused_before_it_is_fetched() -> None:
    with pytest.raises(UsageError, match="has 1000 classes, not 80") as caught:
        resolve(variant="m", tag="miil_in1k", classes=80, endpoint=NOWHERE)
    assert any("--checkpoint" in hint for hint in caught.value.hints)


def test_without_a_network_the_name_cannot_be_resolved(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match=r"tresnet_m\.miil_in1k are not in the cache"):
        resolve(variant="m", tag="miil_in1k", cache_dir=tmp_path, endpoint=NOWHERE)


def test_a_published_source_loads_from_the_cache_with_the_published_input_rule(
    miil_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = tmp_path / "models--timm--tresnet_l.miil_in1k_448" / "blobs" / sha256_of(miil_file)
    snapshot = blob.parents[1] / "snapshots" / ("0" * 40)
    for folder in (blob.parent, snapshot, blob.parents[1] / "refs"):
        folder.mkdir(parents=True)
    shutil.copy(miil_file, blob)
    (snapshot / "model.safetensors").symlink_to(blob)
    (blob.parents[1] / "refs" / "main").write_text("0" * 40)
    assert published("l", "miil_in1k_448", cache_dir=tmp_path, endpoint=NOWHERE).is_file()
    source = resolve(variant="l", tag="miil_in1k_448", cache_dir=tmp_path, endpoint=NOWHERE)
    assert source.kind == "published"
    assert source.location == "miil_in1k_448"
    with pytest.raises(CheckpointMismatchError, match="not of tresnet_l"):
        load(source, cache_dir=tmp_path, endpoint=NOWHERE)


def test_a_source_whose_file_has_gone_asks_where_it_lies_now(
    miil_file: Path, tmp_path: Path
) -> None:
    source = dataclasses.replace(
        resolve(checkpoint=miil_file), location=str(tmp_path / "gone.safetensors")
    )
    with pytest.raises(UsageError, match="not there any more") as caught:
        load(source)
    assert "--checkpoint FILE" in caught.value.hints[0]


def test_a_source_whose_file_has_changed_is_refused(miil_file: Path) -> None:
    source = dataclasses.replace(resolve(checkpoint=miil_file), sha256="f" * 64)
    with pytest.raises(ArtifactError, match="have changed since they were named"):
        load(source)


def test_resolving_needs_no_torch_and_loading_without_it_names_the_extra(miil_file: Path) -> None:
    program = """
import pathlib, sys
sys.modules["torch"] = None
from tresnet_deploy import weights
from tresnet_deploy.errors import UnavailableError
source = weights.resolve(checkpoint=pathlib.Path(sys.argv[1]))
weights.resolve(variant="m", tag="random")
try:
    weights.load(source)
except UnavailableError as error:
    print(error.hints[0])
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(miil_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "pip install 'tresnet-deploy[pytorch]'\n"
