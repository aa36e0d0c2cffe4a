"""An artefact's fields, for files that these tests publish."""

from pathlib import Path

import pytest

from tresnet_deploy.contracts import Artifact, Labels, Preprocess, Source, TensorSpec


@pytest.fixture
def artifact() -> Artifact:
    return Artifact(
        path=Path("unset"),
        kind="onnx",
        step="export",
        sha256="",
        architecture="tresnet_m",
        precision="fp32",
        inputs=(TensorSpec(name="images", dtype="float32", shape=("n", 3, 64, 64)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=("n", 10)),),
        preprocess=Preprocess(height_px=64, width_px=64),
        labels=Labels(classes=10),
        source=Source(kind="random", location="", sha256="0" * 64, variant="tresnet_m", seed=0),
    )
