"""The small network in its two forms, calibrated once on a few images, and images to judge on."""

from dataclasses import replace

import pytest

from tresnet_deploy.contracts import Artifact
from tresnet_deploy.images import ImageSet, demo_images, sample
from tresnet_deploy.quantize import QuantizeOptions
from tresnet_deploy.sensitivity import Forms, prepare

OPTIONS = QuantizeOptions(samples=32, pad_channels=False)


@pytest.fixture(scope="session")
def forms(small_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Forms:
    return prepare(
        small_graph,
        tmp_path_factory.mktemp("forms"),
        images=demo_images("calibration"),
        options=OPTIONS,
    )


@pytest.fixture(scope="session")
def judged() -> ImageSet:
    return replace(sample(demo_images("test"), 8, seed=0), notes=())
