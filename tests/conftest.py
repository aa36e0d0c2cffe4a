"""What several rooms test with: the trained network in the package, exported once a session."""

import signal

import pytest

from tresnet_deploy.contracts import Artifact, Labels, Preprocess, Source
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


@pytest.fixture(scope="session")
def small_graph(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return the ONNX file of a seeded network of four narrow blocks: 64 px, ten classes."""
    import torch

    from tresnet import create
    from tresnet.architecture import Architecture, Head
    from tresnet.deploy_form import deploy_form
    from tresnet.layers import ActivatedNorm
    from tresnet_deploy import artifacts, graph_files, tracing
    from tresnet_deploy.eager import Deployed

    torch.manual_seed(0)
    architecture = Architecture(width=8, depths=(1, 1, 1, 1), head=Head.linear(10))
    network = create(architecture, norm="batchnorm").eval()
    for norm in network.modules():
        if isinstance(norm, ActivatedNorm):  # as made, residual branches are 0
            torch.nn.init.normal_(norm.weight)
            torch.nn.init.normal_(norm.bias)
    plan = tracing.InputPlan(
        layout="float32-nchw", height_px=64, width_px=64, batch=None, dynamic_size=False
    )
    preprocess = Preprocess(height_px=64, width_px=64)
    module = Deployed(deploy_form(network), preprocess).eval()
    model = tracing.trace(module, plan, output="logits", opset=18)
    inputs, outputs = graph_files.tensor_specs(model)
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    described = Artifact(
        path=path,
        kind="onnx",
        step="export",
        sha256="",
        architecture="small",
        precision="fp32",
        inputs=inputs,
        outputs=outputs,
        preprocess=preprocess,
        labels=Labels(classes=10),
        source=Source(kind="random", location="", sha256="0" * 64),
    )
    with artifacts.publishing(path, overwrite=False) as staging:
        graph_files.save(model, staging.path)
        return staging.finish(described)
