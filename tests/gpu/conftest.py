"""What only a GPU can show. Elsewhere these tests are skipped; make test-gpu runs them on one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tresnet_deploy import build, gpus, quantize, scoring, weights
from tresnet_deploy.contracts import Array, Artifact, Batch, Precision, Session, run
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.images import batches, demo_images
from tresnet_deploy.metrics import cosine
from tresnet_deploy.registry import BACKENDS

NVIDIA = ("tensorrt", "tensorrt-rtx")
SIZES = Batch(min=1, opt=4, max=16)
# The smallest cosine of any image's scores with those of FP32, by precision of the engine: the
# bounds of build's own check.
COSINES: dict[Precision, float] = {
    "fp32": 0.9999,
    "fp16": 0.99,
    "bf16": 0.99,
    "int8": 0.95,
    "fp8": 0.95,
}

Engine = Callable[..., Artifact]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests of this folder that need a GPU where there is none."""
    if gpus.visible():
        return
    skip = pytest.mark.skip(reason="no NVIDIA GPU here; make test-gpu runs this on one")
    for item in items:
        if item.get_closest_marker("gpu") and item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(skip)


@pytest.fixture(scope="session", params=NVIDIA)
def backend(request: pytest.FixtureRequest) -> str:
    """Each of NVIDIA's backends that runs here; TensorRT-RTX does not run on every GPU."""
    name: str = request.param
    try:
        found = BACKENDS.load(name).probe()
    except UnavailableError as error:
        pytest.skip(error.message)
    if not found.runs:
        pytest.skip(f"not for this GPU: {found.reason}")
    return name


@pytest.fixture(scope="session")
def images(demo_graph: Artifact) -> Array:
    """Sixteen of the demo network's own test images: (16, 3, 64, 64)."""
    return next(batches(demo_images("test"), demo_graph.preprocess, SIZES.max)).array


@pytest.fixture(scope="session")
def graph(
    demo_graph: Artifact, demo_int8: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Precision], Artifact]:
    """Return the demo network's ONNX file in a precision, each made once."""
    made: dict[Precision, Artifact] = {"fp32": demo_graph, "int8": demo_int8}

    def once(precision: Precision) -> Artifact:
        if precision not in made:
            target = tmp_path_factory.mktemp(precision) / f"tresnet.{precision}.onnx"
            if precision == "fp8":
                made[precision] = quantize.quantize(
                    demo_graph,
                    target,
                    precision="fp8",
                    images=demo_images("calibration"),
                    options=quantize.QuantizeOptions(samples=32),
                )
            else:
                made[precision] = quantize.convert(demo_graph, target, precision=precision)
        return made[precision]

    return once


@pytest.fixture(scope="session")
def engine(
    graph: Callable[[Precision], Artifact], tmp_path_factory: pytest.TempPathFactory
) -> Engine:
    """Build the demo network for a backend, precision and options, each once."""
    made: dict[tuple[object, ...], Artifact] = {}

    def once(
        backend: str, precision: Precision = "fp16", *, batch: Batch = SIZES, **changes: Any
    ) -> Artifact:
        key = (backend, precision, batch, *sorted(changes.items()))
        if key not in made:
            module = BACKENDS.load(backend)
            if precision not in module.probe().precisions:
                pytest.skip(f"not for this GPU: {backend} makes no {precision} engines for it")
            source = graph(module.GRAPHS[precision])
            folder = tmp_path_factory.mktemp("engine")
            values = {name: str(value).lower() for name, value in changes.items()}
            made[key] = build.build(
                source,
                folder / build.file_name(source, backend, precision),
                backend=backend,
                batch=batch,
                options=build.options_from(module, precision, values),
                images=demo_images("calibration"),
            )
        return made[key]

    return once


@pytest.fixture(scope="session")
def reference(demo_graph: Artifact, images: Array) -> Array:
    """The scores of eager FP32 PyTorch, on the CPU, with the original weights."""
    from tresnet_deploy.backends import pytorch
    from tresnet_deploy.eager import Deployed

    network = weights.load(demo_graph.source).model.eval()
    module = Deployed(network, demo_graph.preprocess, demo_graph.labels.activation).eval()
    session = pytorch.session(module, demo_graph.inputs, demo_graph.outputs)
    with closing(session):
        return run(session, {demo_graph.inputs[0].name: images})["logits"]


@contextmanager
def opened(artifact: Artifact) -> Iterator[Session]:
    """Give the engine loaded, and close it."""
    with closing(scoring.load(artifact)) as session:
        yield session


def scores(artifact: Artifact, images: Array) -> Array:
    """Return the scores of ``images`` in one batch."""
    with opened(artifact) as session:
        return run(session, {artifact.inputs[0].name: images})["logits"]


def least_cosine(found: Array, expected: Array) -> float:
    """Return the smallest cosine over the images."""
    return float(np.min(cosine(expected.astype(np.float64), found.astype(np.float64))))
