"""Fixtures about artefact files: one contract filled in, and losing root's powers over modes."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tresnet_deploy.contracts import Artifact, Labels, Preprocess, Source, TensorSpec

_NOBODY = 65534


@pytest.fixture
def artifact() -> Artifact:
    return Artifact(
        path=Path("unset"),
        kind="onnx",
        step="export",
        sha256="",
        architecture="tresnet_m",
        precision="fp32",
        inputs=(TensorSpec(name="images", dtype="float32", shape=("batch", 3, 64, 64)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=("batch", 10)),),
        preprocess=Preprocess(height_px=64, width_px=64),
        labels=Labels(classes=10),
        source=Source(kind="random", location="", sha256="0" * 64, seed=0),
    )


@pytest.fixture
def read_only_folder() -> Iterator[Path]:
    """A folder with a file ``old.onnx`` that this process may read but not write to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "old.onnx").write_bytes(b"old")
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:  # modes do not bind root
            os.seteuid(_NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)
