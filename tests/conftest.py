"""What several rooms test with: the trained network in the package, exported once a session."""

import signal

import pytest

from tresnet_deploy.contracts import Artifact
from tresnet_deploy.images import demo_checkpoint, demo_images


def pytest_configure() -> None:
    """Let Ctrl-C be tested from a background job too, which starts with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def demo_graph(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return the ONNX file of the demo network: 64 px, ten classes, trained."""
    from tresnet_deploy import export, weights

    source = weights.resolve(checkpoint=demo_checkpoint())
    return export.export(
        weights.load(source),
        tmp_path_factory.mktemp("demo") / "tresnet.onnx",
        source=source,
        options=export.ExportOptions(),
        images=demo_images("calibration"),
    )


@pytest.fixture(scope="session")
def demo_int8(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return the demo network as a Q/DQ graph, calibrated on a few of its images."""
    from tresnet_deploy import quantize

    return quantize.quantize(
        demo_graph,
        tmp_path_factory.mktemp("demo_int8") / "tresnet.int8.onnx",
        images=demo_images("calibration"),
        options=quantize.QuantizeOptions(samples=32),
    )
