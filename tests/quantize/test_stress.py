"""Outliers that min-max does not survive, and equalisation does."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tresnet_deploy.calibration import Pictures, reaches

from tresnet_deploy import graph_files
from tresnet_deploy.contracts import Array, Artifact
from tresnet_deploy.images import ImageSet, demo_images, sample
from tresnet_deploy.passes import equalize
from tresnet_deploy.quantize import QuantizeOptions, quantize
from tresnet_deploy.quantize.graphs import runtime_session

BENCH = Path(__file__).parents[2] / "bench"
IMAGES = 400
Agreement = Callable[[Artifact, bool], float]


@pytest.fixture(scope="module")
def stress(script: Callable[[Path], ModuleType]) -> ModuleType:
    return script(BENCH / "stress.py")


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return sample(demo_images("test"), IMAGES, seed=0)


@pytest.fixture(scope="module")
def wanted(stress: ModuleType, demo_graph: Artifact, images: ImageSet) -> Array:
    return np.asarray(stress.logits(demo_graph, images))


@pytest.fixture(scope="module")
def stressed(
    stress: ModuleType, demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    model = stress.stressed(graph_files.load(demo_graph.path))
    made: Artifact = stress.saved(model, demo_graph, tmp_path_factory.mktemp("s") / "s.onnx")
    return made


@pytest.fixture(scope="module")
def agreement(
    stress: ModuleType, images: ImageSet, wanted: Array, tmp_path_factory: pytest.TempPathFactory
) -> Agreement:
    """Return how often the min-max INT8 form of a graph agrees with the float network."""
    folder = tmp_path_factory.mktemp("int8")

    def of(artifact: Artifact, equalize: bool) -> float:
        options = QuantizeOptions(method="minmax", samples=64, equalize=equalize)
        target = folder / f"{artifact.path.stem}{equalize}.int8.onnx"
        calibration = demo_images("calibration")
        int8 = quantize(artifact, target, images=calibration, options=options)
        return float((stress.logits(int8, images).argmax(1) == wanted.argmax(1)).mean())

    return of


def test_stress_changes_no_bit_of_the_float_network(
    stress: ModuleType, stressed: Artifact, images: ImageSet, wanted: Array
) -> None:
    np.testing.assert_array_equal(stress.logits(stressed, images), wanted)


@pytest.mark.parametrize("measured", [False, True], ids=["by weights", "by images"])
def test_equalisation_changes_no_bit_of_the_float_network_either(
    *,
    stress: ModuleType,
    stressed: Artifact,
    images: ImageSet,
    wanted: Array,
    tmp_path: Path,
    measured: bool,
) -> None:
    model = graph_files.load(stressed.path)
    reach = None
    if measured:
        data = Pictures(images=sample(images, 8, seed=0), preprocess=stressed.preprocess)
        reach = reaches(partial(runtime_session, model), equalize.watched(model), data)
    outcome = equalize.equalize(model, reach)
    assert outcome.changed > 30
    levelled = stress.saved(model, stressed, tmp_path / "levelled.onnx")
    np.testing.assert_array_equal(stress.logits(levelled, images), wanted)


@pytest.mark.filterwarnings("default:the converted graph is far")
def test_minmax_collapses_and_equalisation_restores_it(
    stressed: Artifact, demo_graph: Artifact, agreement: Agreement
) -> None:
    healthy = agreement(demo_graph, False)
    assert agreement(stressed, False) < healthy - 0.10
    assert agreement(stressed, True) >= healthy - 0.005
