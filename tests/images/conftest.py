"""Small folders of images to scan, sample and stream."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make tiny PNGs of different colours under the given relative names."""

    def make(*names: str) -> Path:
        folder = tmp_path / "images"
        folder.mkdir(exist_ok=True)
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((8, 8, 3), (number % 256, number // 256, 7), np.uint8)
            Image.fromarray(pixels).save(path, "PNG")
        return folder

    return make
