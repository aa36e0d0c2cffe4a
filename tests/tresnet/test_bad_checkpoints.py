"""Wrong, broken and hostile files: each gives one clear error, and runs nothing."""

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from tresnet.architecture import Architecture, Head
from tresnet.checkpoint import load, load_state
from tresnet.errors import (
    CheckpointFileError,
    CheckpointMismatchError,
    NonFiniteWeightsError,
    NotATResNetError,
    UntrustedPickleError,
)
from tresnet.model import TResNet, create
from tresnet.saving import miil_state

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def official(fill: Callable[[TResNet], TResNet]) -> State:
    architecture = Architecture(width=8, depths=(1, 1, 2, 1), head=Head.linear(5))
    return miil_state(fill(create(architecture)))


@pytest.fixture
def state(official: State) -> State:
    return dict(official)


class Hostile:
    """Unpickling it creates a folder, if anything runs it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_is_refused_by_name_and_does_not_run(
    state: State, tmp_path: Path, zipped: bool
) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    content = {"model": state, "optimizer": Hostile(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UntrustedPickleError, match=r"calls posix\.mkdir, which.*--trust-pickle"):
        load(path)
    assert not trace.exists()


def test_a_hostile_pickle_without_torchs_header_is_not_even_opened(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pth", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Hostile(trace)))
    for trusted in (False, True):
        with pytest.raises(CheckpointFileError, match="a bare pickle, which may run code"):
            load(path, trust_pickle=trusted)
    assert not trace.exists()


def test_a_pickle_that_the_caller_trusts_is_loaded(state: State, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": state, "where": Path("/data")}, path)
    with pytest.raises(UntrustedPickleError, match="calls pathlib"):
        load(path)
    assert load(path, trust_pickle=True).wrapper == "model"


def test_a_trusted_pickle_of_code_that_is_gone_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": Gone()}, path)
    content = path.read_bytes().replace(b"Gone", b"None")
    path.write_bytes(content)
    with pytest.raises(CheckpointFileError, match="it needs the code it was saved with"):
        load(path, trust_pickle=True)


class Gone:
    """A class that the reader's side lacks."""


def test_a_whole_pickled_network_needs_trust_and_must_be_a_tresnet(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(UntrustedPickleError, match=r"torch\.nn\.modules\.linear\.Linear"):
        load(path)
    with pytest.raises(NotATResNetError, match="keys begin with weight, bias"):
        load(path, trust_pickle=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty: download or copy it again"),
        (b"<!DOCTYPE html><html>login", "is a web page saved under that name"),
        (b"\n  <html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer.*git lfs pull"),
        (b"\x08\x0aonnx and so on", "starts with .* as neither safetensors nor torch.save does"),
        (b"PK\x03\x04 and then nothing", "broken or truncated"),
        (struct.pack("<Q", 1 << 40) + b'{"a": 1}', "broken or truncated"),
        (struct.pack("<Q", 8) + b'{"a": 1}', "broken or truncated"),
    ],
)
def test_files_that_are_no_checkpoints_say_what_they_seem_to_be(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointFileError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def written(state: State, kind: str) -> bytes:
    if kind == "safetensors":
        return safetensors.torch.save(state)
    buffer = io.BytesIO()
    torch.save({"model": state}, buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
@pytest.mark.parametrize("kept", [0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_one_clear_error(
    state: State, tmp_path: Path, kind: str, kept: float
) -> None:
    path = tmp_path / "weights.pth"
    content = written(state, kind)
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(CheckpointFileError, match=r"broken or truncated.*copy it again"):
        load(path)


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_flipped_bytes_never_end_in_a_traceback_of_another_kind(
    state: State, tmp_path: Path, kind: str
) -> None:
    small = {key: state[key] for key in list(state)[:3]}
    content = written(small, kind)
    path = tmp_path / "weights.pth"
    generator = torch.Generator().manual_seed(0)
    for position in torch.randint(0, len(content), (60,), generator=generator).tolist():
        path.write_bytes(content[:position] + b"\xff" + content[position + 1 :])
        with pytest.raises((CheckpointFileError, UntrustedPickleError, CheckpointMismatchError)):
            load(path)


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 10_000_000)
    with pytest.raises(CheckpointFileError, match="a compressed zip archive"):
        load(path)


def test_other_archives_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for name, message in (("a/constants.pkl", "a TorchScript program"), ("a.txt", "did not write")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, b"")
        with pytest.raises(CheckpointFileError, match=message):
            load(path)


def test_missing_paths_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointFileError, match=r"cannot read .*missing\.pth: No such file"):
        load(tmp_path / "missing.pth")
    with pytest.raises(CheckpointFileError, match=r"holds no model\.safetensors or pytorch_model"):
        load(tmp_path)


def test_something_other_than_a_mapping_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save([torch.ones(2)], path)
    with pytest.raises(CheckpointFileError, match="holds a list, not a mapping"):
        load(path)


def test_weights_of_another_network_show_their_first_keys() -> None:
    with pytest.raises(NotATResNetError, match=r"3 keys begin with conv1\.weight, bn1\.weight"):
        load_state({"conv1.weight": torch.ones(1), "bn1.weight": torch.ones(1), "fc": 1})
    with pytest.raises(NotATResNetError, match="begin with none at all"):
        load_state({})


LOOKS_LIKE = r"looks like TResNet\(width 8, depths 1-1-2-1, v1\) with a linear head of 5 classes"


def test_a_missing_key_names_the_network_and_the_key(state: State) -> None:
    del state["body.layer3.1.conv2.0.weight"]
    with pytest.raises(
        CheckpointMismatchError, match=rf"{LOOKS_LIKE}.*lacks body\.layer3\.1\.conv2\.0\.weight"
    ):
        load_state(state)


@pytest.mark.parametrize(
    "key", ["body.layer1.0.conv9.0.weight", "head.loss.weight", "body.conv1.conv.extra"]
)
def test_unknown_keys_never_load_silently(state: State, key: str) -> None:
    state[key] = torch.ones(2)
    with pytest.raises(CheckpointMismatchError, match=rf"{LOOKS_LIKE}.*also holds {key}"):
        load_state(state)


def test_a_second_name_for_one_tensor_is_refused(state: State) -> None:
    state["body.conv1.0.0.weight"] = state["body.conv1.0.weight"]
    with pytest.raises(CheckpointMismatchError, match=r"also holds body\.conv1\.0\.0\.weight"):
        load_state(state)


def test_a_wrong_shape_shows_both(state: State) -> None:
    state["body.layer2.0.se.fc1.bias"] = torch.ones(3)
    with pytest.raises(CheckpointMismatchError, match=r"fc1\.bias is \[3\] instead of \[64\]"):
        load_state(state)


def test_many_differences_are_counted_not_listed(state: State) -> None:
    for key in [key for key in state if ".se." in key]:
        del state[key]
    with pytest.raises(CheckpointMismatchError, match=r"fc2\.bias and 12 more; save") as caught:
        load_state(state)
    assert len(str(caught.value)) < 500


def test_a_missing_block_is_named_instead_of_built(state: State) -> None:
    state = {k: v for k, v in state.items() if not k.startswith("body.layer3.0.")}
    with pytest.raises(CheckpointMismatchError, match=r"block body\.layer3\.0 is missing"):
        load_state(state)


def test_a_forged_block_number_does_not_build_a_billion_blocks(state: State) -> None:
    state["body.layer3.999999999.conv1.0.weight"] = torch.ones(1, 1, 1, 1)
    with pytest.raises(CheckpointMismatchError, match=r"block body\.layer3\.2 is missing"):
        load_state(state)


def test_a_body_without_a_head_is_refused_with_the_reason(state: State) -> None:
    body = {f"backbone.0.body.{k}": v for k, v in state.items() if k.startswith("body.")}
    body["transformer.encoder.weight"] = torch.ones(2)
    with pytest.raises(
        CheckpointMismatchError, match=r"without a classifier.*Query2Label.*transformer\.encoder"
    ):
        load_state({"state_dict": body})


def test_an_unknown_head_is_named(state: State) -> None:
    state = {k: v for k, v in state.items() if not k.startswith("head.")}
    state["head.wordvec_proj.weight"] = torch.ones(2, 2)
    with pytest.raises(CheckpointMismatchError, match=r"first is head\.wordvec_proj\.weight"):
        load_state(state)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_named(state: State, value: float) -> None:
    broken = state["body.layer4.0.conv3.0.weight"].clone()
    broken[3, 2, 0, 0] = value
    state["body.layer4.0.conv3.0.weight"] = broken
    with pytest.raises(NonFiniteWeightsError, match=r"1 of \d+ tensors .*layer4\.0\.conv3\.0"):
        load_state(state)


def test_a_negative_variance_is_named(state: State) -> None:
    state["body.conv1.1.running_var"] = -state["body.conv1.1.running_var"]
    with pytest.raises(NonFiniteWeightsError, match=r"negative variance: in body\.conv1\.1"):
        load_state(state)


def test_a_tensor_that_claims_more_than_it_stores_is_refused(state: State, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    state["head.fc.bias"] = torch.zeros(1).expand(10**12)
    state["head.fc.weight"] = torch.zeros(1, 1).expand(10**12, 256)
    torch.save(state, path)
    with pytest.raises(CheckpointFileError, match="more than the file stores"):
        load(path)


def test_a_safetensors_header_that_claims_terabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    entry = {"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 4 * 10**12]}
    header = json.dumps({"body.conv1.0.weight": entry}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(CheckpointFileError, match="broken or truncated"):
        load(path)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.ones(8, 48, 3, 3, dtype=torch.int8),
        torch.ones(8, 48, 3, 3, device="meta"),
        torch.ones(8, 48, 3, 3).to_sparse(),
    ],
    ids=["int8", "meta", "sparse"],
)
def test_only_dense_arrays_of_floats_are_weights(state: State, tensor: Tensor) -> None:
    state["body.conv1.0.weight"] = tensor
    with pytest.raises(CheckpointFileError, match="must be dense arrays of floats"):
        load_state(state)


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("body.conv1.0.weight", (8,)),
        ("body.conv1.0.weight", (0, 48, 3, 3)),
        ("body.conv1.0.weight", (8, 7, 3, 3)),
        ("head.fc.weight", (0, 256)),
        ("head.fc.weight", (5, 256, 1)),
    ],
)
def test_absurd_shapes_are_mismatches(state: State, key: str, shape: tuple[int, ...]) -> None:
    state[key] = torch.ones(shape)
    with pytest.raises(CheckpointMismatchError):
        load_state(state)


def test_a_wrong_number_of_class_names_is_refused(state: State) -> None:
    with pytest.raises(CheckpointMismatchError, match="names 2 classes, but it holds"):
        load_state({"model": state, "idx_to_class": {0: "cat", 1: "dog"}})


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "is not readable as JSON"),
        ("[1]", "must hold a JSON object, not list"),
        ('{"input_size": [3, 224]}', r"input_size must be 3 number\(s\), not \[3, 224\]"),
        ('{"input_size": [3, 224, 192]}', "224 x 192 is not square"),
        ('{"input_size": [3, 224, 224], "std": [0, 0, 0]}', "is absurd"),
        ('{"input_size": [3, 1e999, 1e999]}', "is absurd"),
        (f'{{"input_size": [3, 224, 224], "mean": [0, 0, 1{400 * "0"}]}}', "an absurd number"),
        ('{"input_size": [3, 224, 224], "crop_pct": "big"}', r"crop_pct must be 1 number\(s\)"),
    ],
)
def test_a_broken_config_is_named_with_its_value(
    state: State, tmp_path: Path, config: str, message: str
) -> None:
    safetensors.torch.save_file(state, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(CheckpointFileError, match=rf"config\.json.*{message}"):
        load(tmp_path)


@pytest.mark.parametrize("key", ["class_names", "input_rule", "slopes", "gammas"])
@pytest.mark.parametrize("value", ["{", "3", '{"image_px": "big"}'])
def test_broken_metadata_of_our_own_is_named(
    state: State, tmp_path: Path, key: str, value: str
) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state, path, {f"tresnet.{key}": value})
    with pytest.raises(CheckpointFileError, match=rf"metadata tresnet\.{key} of the file"):
        load(path)
