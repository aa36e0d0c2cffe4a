"""Tiny checkpoints of each kind of head, and what export makes of them, each made once."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from tresnet import Checkpoint, create, load_state
from tresnet.architecture import Architecture, Head, InputRule
from tresnet.layers import ActivatedNorm
from tresnet.saving import miil_state
from tresnet_deploy.contracts import Array, Artifact, Source
from tresnet_deploy.export import ExportOptions, export
from tresnet_deploy.images import ImageSet, sample_photos

SIDE_PX = 32
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SOURCE = Source(kind="random", location="", sha256="0" * 64, seed=0)
HEADS = {
    "linear": Head.linear(5),
    "bottleneck": Head.with_bottleneck(5, bottleneck=7),
    "decoder": Head.ml_decoder(9, groups=4, embedding=16, hidden=24),
}

Export = Callable[..., Artifact]


def tiny_checkpoint(kind: str, **changes: object) -> Checkpoint:
    """Return a network of one block a stage with gammas of either sign."""
    torch.manual_seed(0)
    architecture = Architecture(width=8, depths=(1, 1, 1, 1), head=HEADS[kind])
    model = create(dataclasses.replace(architecture, **changes), norm="batchnorm").eval()
    for norm in model.modules():
        if isinstance(norm, ActivatedNorm):
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    rule = InputRule(image_px=SIDE_PX, resize="squish", mean=IMAGENET[0], std=IMAGENET[1])
    return load_state(miil_state(model), norm="batchnorm", input_rule=rule)


@pytest.fixture(scope="session")
def checkpoint() -> Checkpoint:
    """A network with a linear head."""
    return tiny_checkpoint("linear")


@pytest.fixture(scope="session")
def photos() -> ImageSet:
    """The photographs in the package."""
    return sample_photos()


@pytest.fixture(scope="session")
def make(photos: ImageSet, tmp_path_factory: pytest.TempPathFactory) -> Export:
    """Export a checkpoint with the options given as keywords into a folder of its own."""

    def run(checkpoint: Checkpoint, **options: object) -> Artifact:
        target = tmp_path_factory.mktemp("exported") / "tiny.onnx"
        chosen = ExportOptions(**options)
        return export(checkpoint, target, source=SOURCE, options=chosen, images=photos)

    return run


@pytest.fixture(scope="session")
def plain(checkpoint: Checkpoint, make: Export) -> Artifact:
    """Linear head, all options at their defaults."""
    return make(checkpoint)


@pytest.fixture(scope="session")
def dynamic(make: Export) -> Artifact:
    """Bottleneck head, symbolic height and width, normalising, operators inlined."""
    checkpoint = tiny_checkpoint("bottleneck")
    return make(checkpoint, dynamic_size=True, normalize=True, operators="inline")


@pytest.fixture(scope="session")
def bytes_in(make: Export) -> Artifact:
    """ML-Decoder head, decoded images in, probabilities out."""
    return make(tiny_checkpoint("decoder"), layout="uint8-nhwc", activation="sigmoid", opset=23)


def eager(checkpoint: Checkpoint, images: Array) -> npt.NDArray[np.float32]:
    """Return the logits of the untouched network."""
    with torch.inference_mode():
        logits: npt.NDArray[np.float32] = checkpoint.model(torch.from_numpy(images)).numpy()
    return logits


def normalized(images: Array) -> npt.NDArray[np.float32]:
    """Return [0, 1] images (N, 3, H, W) as ImageNet's statistics want them."""
    mean, std = (np.asarray(each, np.float32).reshape(1, 3, 1, 1) for each in IMAGENET)
    result: npt.NDArray[np.float32] = (images - mean) / std
    return result


def noise(*shape: int) -> npt.NDArray[np.float32]:
    """Return seeded values in [0, 1]."""
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def files_in(folder: Path) -> set[str]:
    """Return the names of what a user would find, lock files apart."""
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}
