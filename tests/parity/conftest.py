"""A small NumPy model as a session, and real image files for it: no runtime, no torch."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tresnet_deploy.contracts import (
    Array,
    Artifact,
    Batch,
    Feeds,
    Labels,
    Precision,
    Preprocess,
    Source,
    TensorSpec,
)
from tresnet_deploy.images import ImageSet, scan
from tresnet_deploy.parity import Stage

CLASSES = 6
SIDE_PX = 16
PREPROCESS = Preprocess(height_px=SIDE_PX, width_px=SIDE_PX, resize="squish")
LABELS = Labels(classes=CLASSES, names=("ant", "bee", "cat", "dog", "eel", "fox"))

Change = Callable[[Array], Array]


class PatchSession:
    """Scores of class c: the mean of patch c of the image; ``change`` bends them."""

    def __init__(self, change: Change, batch: int | str) -> None:
        shape = (batch, 3, SIDE_PX, SIDE_PX)
        self.inputs = (TensorSpec(name="pixels", dtype="float32", shape=shape),)
        self.outputs = (TensorSpec(name="logits", dtype="float32", shape=(batch, CLASSES)),)
        self.batches: list[int] = []
        self._change = change

    def bind(self, feeds: Feeds) -> None:
        self._images = feeds["pixels"]
        self.batches.append(len(self._images))

    def step(self) -> None:
        columns = np.array_split(self._images.mean(axis=1), CLASSES, axis=2)
        scores = np.stack([column.mean(axis=(1, 2)) for column in columns], axis=1)
        self._scores = self._change(10 * scores.astype(np.float32))

    def fetch(self) -> dict[str, Array]:
        return {"logits": self._scores}

    def close(self) -> None:
        pass


def same(scores: Array) -> Array:
    return scores


MakeStage = Callable[..., Stage]


@pytest.fixture(scope="session")
def make_stage() -> MakeStage:
    return stage


@pytest.fixture(scope="session")
def model() -> Artifact:
    images = TensorSpec(name="pixels", dtype="float32", shape=("batch", 3, SIDE_PX, SIDE_PX))
    scores = TensorSpec(name="logits", dtype="float32", shape=("batch", CLASSES))
    return Artifact(
        path=Path("deploy/tresnet_m.onnx"),
        kind="onnx",
        step="export",
        sha256="hash of the graph",
        architecture="tresnet_m",
        precision="fp32",
        inputs=(images,),
        outputs=(scores,),
        preprocess=PREPROCESS,
        labels=LABELS,
        source=Source(kind="random", location="", sha256="hash of the weights"),
    )


def stage(
    name: str,
    change: Change = same,
    *,
    precision: Precision = "fp32",
    batch: int | str = "batch",
    limits: Batch | None = None,
) -> Stage:
    return Stage(
        name=name,
        precision=precision,
        session=PatchSession(change, batch),
        batch=limits,
        file=f"{name}.onnx",
        sha256=f"hash of {name}",
    )


def write_images(folder: Path, count: int, *, labelled: bool) -> None:
    """Write images whose column ``i % CLASSES`` is bright, in class folders if ``labelled``."""
    rng = np.random.default_rng(7)
    for index in range(count):
        pixels = rng.integers(0, 120, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        bright = index % CLASSES
        edges = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(SIDE_PX), CLASSES))])
        pixels[:, edges[bright] : edges[bright + 1]] += np.uint8(rng.integers(60, 130))
        place = folder / LABELS.names[bright] if labelled else folder
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"{index:03d}.png")


@pytest.fixture(scope="session")
def labelled_images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    folder = tmp_path_factory.mktemp("labelled")
    write_images(folder, 60, labelled=True)
    return scan(folder, class_names=LABELS.names)


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> ImageSet:
    folder = tmp_path_factory.mktemp("plain")
    write_images(folder, 13, labelled=False)
    return scan(folder, class_names=LABELS.names)
