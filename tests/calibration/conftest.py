"""A stand-in session, and pictures on disk."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tresnet_deploy.calibration import Pictures

from tresnet_deploy.contracts import Array, Feeds, Preprocess, TensorSpec
from tresnet_deploy.images import scan

SIDE_PX = 20
PREPROCESS = Preprocess(height_px=SIDE_PX, width_px=SIDE_PX, resize="squish", crop_pct=1.0)


class TwiceAndHalf:
    """A graph with the activations ``twice`` (x * 2) and ``half`` (x / 2 - 1), batch first."""

    def __init__(self, tensors: Sequence[str] = ("twice", "half")) -> None:
        self.inputs = (TensorSpec(name="images", dtype="float32", shape=("n", 3, 20, 20)),)
        self.outputs = tuple(
            TensorSpec(name=name, dtype="float32", shape=("n", 3, 20, 20)) for name in tensors
        )
        self.batches: list[int] = []
        self.closed = False
        self._images: Array = np.zeros(0)

    def bind(self, feeds: Feeds) -> None:
        self._images = feeds["images"]

    def step(self) -> None:
        self.batches.append(len(self._images))

    def fetch(self) -> dict[str, Array]:
        made = {"twice": self._images * 2, "half": self._images / 2 - 1, "dead": 0 * self._images}
        return {spec.name: made[spec.name] for spec in self.outputs if spec.name in made}

    def close(self) -> None:
        self.closed = True


Folder = Callable[..., Pictures]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return pictures of the given grey levels (0 to 255), one pixel of each darker."""

    def make(*levels: int, plain: bool = False, strict: bool = False) -> Pictures:
        for number, level in enumerate(levels):
            pixels = np.full((SIDE_PX, SIDE_PX, 3), level, np.uint8)
            if not plain:
                pixels[0, 0] = level // 2
            Image.fromarray(pixels).save(tmp_path / f"{number:02d}.png")
        return Pictures(images=scan(tmp_path), preprocess=PREPROCESS, strict=strict)

    return make
