"""What inspect says of checkpoints, and that bad ones are one error."""

import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from tresnet import create
from tresnet.errors import CheckpointFileError, NonFiniteWeightsError, UntrustedPickleError
from tresnet.layers import ActivatedNorm
from tresnet.model import TResNet
from tresnet.saving import miil_state, save_miil
from tresnet_deploy.errors import UsageError
from tresnet_deploy.inspection import CheckpointReport, inspect


@pytest.fixture(scope="module")
def network() -> TResNet:
    torch.manual_seed(0)
    model = create("m", width_factor=0.25, classes=3, norm="batchnorm")
    with torch.no_grad():
        for norm in model.modules():
            if isinstance(norm, ActivatedNorm):
                norm.weight.copy_(torch.linspace(-0.5, 1.5, norm.num_features))
                norm.weight[0] = 0.0
    return model


def report_on(path: Path) -> CheckpointReport:
    report = inspect(path)
    assert isinstance(report, CheckpointReport)
    return report


def test_layout_network_and_names_are_read_off_the_file(tmp_path: Path, network: TResNet) -> None:
    path = tmp_path / "mine.safetensors"
    save_miil(network, path, class_names=("cat", "dog", "owl"))
    report = report_on(path)
    assert (report.layout, report.wrapper, report.prefix) == ("miil", "flat", "")
    assert (report.depths, report.width, report.head) == ((3, 4, 11, 3), 16, "linear")
    assert report.variant is None
    assert report.class_names == ("cat", "dog", "owl")
    assert report.parameters == sum(p.numel() for p in network.parameters())


def test_wrapper_prefix_and_strangers_are_named(tmp_path: Path, network: TResNet) -> None:
    path = tmp_path / "training.pth"
    state = {f"module.{key}": tensor for key, tensor in miil_state(network).items()}
    torch.save({"epoch": 3, "state_dict": {**state, "note": "hello"}}, path)
    report = report_on(path)
    assert (report.wrapper, report.prefix) == ("state_dict", "module.")
    assert "note" in report.ignored


def test_gammas_come_with_the_decision_its_reason_and_their_shares(
    tmp_path: Path, network: TResNet
) -> None:
    path = tmp_path / "raw.pth"
    torch.save(miil_state(network), path)
    report = report_on(path)
    assert report.gammas == "absolute"
    assert "InPlace-ABN" in report.gammas_reason
    assert 0.15 < report.negative_gammas < 0.3
    assert 0 < report.zero_gammas < 0.1


def test_preprocessing_comes_with_its_reason(tmp_path: Path, network: TResNet) -> None:
    path = tmp_path / "raw.pth"
    torch.save(miil_state(network), path)
    report = report_on(path)
    assert report.preprocess.mean == (0.0, 0.0, 0.0)
    assert report.preprocess_reason


def test_not_a_number_among_the_weights_is_refused(tmp_path: Path, network: TResNet) -> None:
    state = miil_state(network)
    state["head.fc.bias"][1] = float("nan")
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(NonFiniteWeightsError):
        inspect(tmp_path / "broken.pth")


class Attack:
    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (Path("touched-by-a-pickle"),)


def test_a_pickle_that_would_run_code_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Attack()}, tmp_path / "attack.pth")
    with pytest.raises(UntrustedPickleError, match="--trust-pickle"):
        inspect(tmp_path / "attack.pth")
    assert not (tmp_path / "touched-by-a-pickle").exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain text",
        pickle.dumps({"a": 1}),
        b"PK\x03\x04truncated",
        b"\xff" * 8 + b'{"header": ',
    ],
    ids=["empty", "text", "bare pickle", "cut zip", "cut safetensors"],
)
def test_what_is_no_checkpoint_is_one_error_that_names_it(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "file.bin").write_bytes(data)
    with pytest.raises(CheckpointFileError, match=r"file\.bin"):
        inspect(tmp_path / "file.bin")


def test_a_zip_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photo.txt", "hello")
    with pytest.raises(CheckpointFileError, match=r"torch\.save did not write"):
        inspect(tmp_path / "photos.zip")


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no file"):
        inspect(tmp_path / "nothing.pth")


def test_a_folder_without_weights_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.safetensors"):
        inspect(tmp_path)
