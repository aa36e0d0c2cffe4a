"""Shared networks: golden files of the published code, and tiny ones filled by the same rule."""

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tresnet.architecture import Architecture
from tresnet.model import TResNet

GOLDEN = Path(__file__).parents[1] / "golden"


def rule_tensor(key: str, shape: tuple[int, ...]) -> Tensor:
    """The rule of tests/golden/README.md."""
    if key.endswith("num_batches_tracked"):
        return torch.tensor(7)
    r = np.random.default_rng(zlib.crc32(key.encode()))
    if key.endswith("running_mean"):
        value = 0.3 * r.standard_normal(shape)
    elif key.endswith("running_var"):
        value = 0.5 + 1.5 * r.random(shape)
    elif len(shape) == 4:
        value = r.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
    elif len(shape) == 3:
        value = 0.05 * r.standard_normal(shape)
    elif len(shape) == 2:
        value = 0.02 * r.standard_normal(shape)
    elif len(shape) == 1 and key.endswith(".weight"):
        sign = np.where(r.random(shape) < 0.4, -1, 1)
        value = sign * (0.3 + 0.9 * r.random(shape))
        value = np.where(r.random(shape) < 0.05, 0, value)
    else:
        value = 0.1 * r.standard_normal(shape)
    return torch.from_numpy(np.asarray(value, dtype=np.float32))


@dataclass
class Golden:
    """One pair of files in tests/golden."""

    name: str

    @cached_property
    def description(self) -> dict:
        return json.loads((GOLDEN / f"{self.name}.json").read_text())

    @cached_property
    def logits(self) -> Tensor:
        with np.load(GOLDEN / f"{self.name}.npz") as arrays:
            return torch.from_numpy(arrays["logits"])

    @cached_property
    def state(self) -> dict[str, Tensor]:
        keys = self.description["keys"]
        return {key: rule_tensor(key, tuple(shape)) for key, shape in keys}

    @property
    def images(self) -> Tensor:
        px = self.description["image_px"]
        r = np.random.default_rng(zlib.crc32(b"input"))
        return torch.from_numpy(r.random((2, 3, px, px)).astype(np.float32))


@pytest.fixture(scope="session", params=sorted(path.stem for path in GOLDEN.glob("*.json")))
def golden(request: pytest.FixtureRequest) -> Golden:
    """Each golden network in turn; a session keeps one state dict at a time."""
    return Golden(request.param)


@pytest.fixture(scope="session")
def fill() -> Callable[[TResNet], TResNet]:
    """Fills a network by the golden rule, so that gammas are negative and branches alive."""

    def fill(model: TResNet) -> TResNet:
        state = model.state_dict()
        model.load_state_dict({key: rule_tensor(key, tuple(t.shape)) for key, t in state.items()})
        return model.eval()

    return fill


@pytest.fixture(scope="session")
def tiny() -> Architecture:
    """The smallest network that has every part of a v1 TResNet."""
    return Architecture(width=8, depths=(1, 2, 2, 1))


@pytest.fixture
def images() -> Tensor:
    """Two images of 64 px."""
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Tiny networks are fastest so, and by far where the cores are busy."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
