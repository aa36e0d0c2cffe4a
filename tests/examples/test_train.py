"""The training example runs from idx files to a checkpoint that the package can load."""

import gzip
import importlib
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open

import tresnet

EXAMPLES = Path(__file__).parents[2] / "examples"


def write_idx(path: Path, values: np.ndarray) -> None:
    header = struct.pack(f">4B{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Noise as a data set of the form of Fashion-MNIST: 120 training and 10 test images."""
    random = np.random.default_rng(0)
    for part, count in (("train", 120), ("t10k", 10)):
        images = random.integers(0, 256, (count, 28, 28), np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
    return tmp_path


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Run `examples/train.py` in this process."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # on a busy machine two threads wait for each other longer

    def run(*arguments: str | Path) -> None:
        monkeypatch.setattr(sys, "argv", ["train.py", *map(str, arguments)])
        importlib.import_module("train").main()

    yield run
    torch.set_num_threads(threads)


def test_a_short_training_saves_a_checkpoint_with_raw_gammas(
    train: Callable[..., None],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    target = tmp_path / "model.safetensors"
    short = ("--small-epochs", "1", "--epochs", "1", "--batch", "100", "--test")
    train("--data", data, "--output", target, *short)
    assert f"saved: {target}" in capsys.readouterr().out
    checkpoint = tresnet.load(target)
    assert checkpoint.layout == "miil"
    assert checkpoint.gammas == "absolute"
    assert checkpoint.input_rule.image_px == 64
    assert checkpoint.class_names is not None
    assert checkpoint.class_names[0] == "T-shirt/top"
    assert (checkpoint.model.stem.norm.weight < 0).any()
    with safe_open(target, "pt") as file:
        command = file.metadata()["command"]
    assert command.startswith(
        f"python examples/train.py --data {data.name} --output model.safetensors --small-epochs 1"
    )


def test_the_checkpoint_that_was_trained_on_cifar10_says_so_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    checkpoint = tresnet.load(EXAMPLES / "cifar10_tresnet_m_0.25.safetensors")
    assert checkpoint.class_names == importlib.import_module("cifar10").CLASSES
    assert sum(p.numel() for p in checkpoint.model.parameters()) == 1_919_258
    assert checkpoint.gammas == "absolute"


def test_a_folder_without_the_data_set_is_an_error_that_says_where_to_get_it(
    train: Callable[..., None], tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as caught:
        train("--data", tmp_path, "--output", tmp_path / "model.safetensors")
    assert caught.value.code == (
        f"{tmp_path} has no train-images-idx3-ubyte: give the folder of Fashion-MNIST's files "
        "with --data (Debian: apt-get install dataset-fashion-mnist)"
    )
    assert not (tmp_path / "model.safetensors").exists()


def test_a_truncated_file_is_an_error(
    train: Callable[..., None], data: Path, tmp_path: Path
) -> None:
    path = data / "train-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    with pytest.raises(SystemExit, match="is truncated: 94079 values, not 94080"):
        train("--data", data, "--output", tmp_path / "model.safetensors")
