"""Small checkpoints to load."""

from pathlib import Path

import pytest

from tresnet import create
from tresnet.saving import save_miil


@pytest.fixture(scope="session")
def miil_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    model = create("m", width_factor=0.25, classes=3, norm="batchnorm")
    save_miil(model, path, class_names=("cat", "dog", "owl"))
    return path
