"""From options to one source of weights, and from a source to the network it was made from."""

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch

from tresnet import create
from tresnet.errors import CheckpointMismatchError, UnknownVariantError
from tresnet.layouts import file_key
from tresnet.variants import find
from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError
from tresnet_deploy.weights import load, resolve

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


@pytest.mark.parametrize("asked", [{"gammas": "plain"}, {"stem_slope": 0.5}, {"block_slope": 0.5}])
def test_random_weights_take_no_gammas_and_slopes(asked: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="random weights are made with gammas and slopes of their"):
        resolve(variant="m_x0.125", tag="random", **asked)


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


@pytest.fixture
def small_release(hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A narrow M in timm's layout, as if it were published at 448 px."""
    model = create("m", width_factor=0.25, classes=5, norm="batchnorm", gammas="plain")
    state = {
        file_key(key, model.architecture, "timm"): tensor
        for key, tensor in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    hub.content = safetensors.torch.save(state)
    row = dataclasses.replace(find("m").find_weights("miil_in1k_448"), classes=5)
    hub.path = f"/{row.repository}/resolve/main/{row.file}"
    narrow = dataclasses.replace(find("m_x0.25"), weights=(row,))
    monkeypatch.setattr("tresnet_deploy.weights.sources.find", lambda _name: narrow)
    monkeypatch.setattr("tresnet_deploy.weights.hub.find", lambda _name: narrow)


@pytest.mark.usefixtures("small_release")
def test_published_weights_load_with_the_rule_they_were_published_with(hub, tmp_path: Path) -> None:
    source = resolve(variant="m", cache_dir=tmp_path, endpoint=hub.endpoint)
    assert (source.kind, source.location) == ("published", "miil_in1k_448")
    assert source.sha256 == hub.sha256
    checkpoint = load(source, cache_dir=tmp_path, endpoint=hub.endpoint)
    assert (checkpoint.layout, checkpoint.gammas) == ("timm", "plain")
    assert (checkpoint.input_rule.image_px, checkpoint.input_rule.resize) == (448, "squish")
    assert checkpoint.input_reason == "as timm/tresnet_m.miil_in1k_448 was trained"


@pytest.mark.usefixtures("small_release")
def test_published_weights_load_again_from_the_cache_alone(hub, tmp_path: Path) -> None:
    source = resolve(variant="m", cache_dir=tmp_path, endpoint=hub.endpoint)
    asked = len(hub.requests)
    assert load(source, cache_dir=tmp_path, endpoint=hub.endpoint).sha256 == source.sha256
    assert len(hub.requests) == asked


@pytest.mark.usefixtures("small_release")
def test_weights_that_were_published_anew_are_refused_by_an_older_artefact(
    hub, tmp_path: Path
) -> None:
    source = resolve(variant="m", cache_dir=tmp_path, endpoint=hub.endpoint)
    older = dataclasses.replace(source, sha256="e" * 64)
    with pytest.raises(ArtifactError, match="have changed since they were named"):
        load(older, cache_dir=tmp_path, endpoint=hub.endpoint)


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
