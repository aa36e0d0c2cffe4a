"""An engine of the demo network from each backend, built once a session."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from tresnet_deploy import build
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.images import demo_images
from tresnet_deploy.registry import BACKENDS

Images = npt.NDArray[np.float32]
Build = Callable[..., Artifact]
SIDE_PX = 64
LARGEST = 4


@pytest.fixture(scope="session")
def build_engine(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build the demo network for a backend and batch, each only once."""
    made: dict[tuple[str, Batch], Artifact] = {}

    def once(backend: str, batch: Batch) -> Artifact:
        key = (backend, batch)
        if key not in made:
            folder = tmp_path_factory.mktemp(backend)
            made[key] = build.build(
                demo_graph,
                folder / build.file_name(demo_graph, backend, "fp32"),
                backend=backend,
                batch=batch,
                images=demo_images("calibration"),
            )
        return made[key]

    return once


@pytest.fixture(scope="session", params=BACKENDS.names())
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend of the folder that runs here; the others are skipped with their reason."""
    name: str = request.param
    try:
        found = BACKENDS.load(name).probe()
    except UnavailableError as error:
        pytest.skip(error.message)
    if not (found.usable and found.runs):
        pytest.skip(f"{name}: {found.reason}")
    return name


@pytest.fixture(scope="session")
def engine(backend: str, build_engine: Build) -> Artifact:
    """Return an engine of the demo network for 1 to 4 images."""
    return build_engine(backend, Batch(min=1, opt=2, max=LARGEST))


@pytest.fixture(scope="session")
def images() -> Images:
    """Return noise that looks like images: (4, 3, 64, 64) in [0, 1]."""
    shape = (LARGEST, 3, SIDE_PX, SIDE_PX)
    return np.random.default_rng(0).random(shape, np.float32)


def copied(artifact: Artifact, folder: Path) -> Path:
    """Copy an engine with its companions and sidecar into ``folder``; return its place there."""
    for path in artifact.path.parent.glob(artifact.path.name.partition(".")[0] + ".*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / artifact.path.name
