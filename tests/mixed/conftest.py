"""A network of four narrow blocks as an FP32 graph file: quick to build in parts."""

import pytest
import torch

from tresnet import create
from tresnet.architecture import Architecture, Head
from tresnet.deploy_form import deploy_form
from tresnet_deploy import artifacts, graph_files, tracing
from tresnet_deploy.contracts import Artifact, Labels, Preprocess, Source
from tresnet_deploy.eager import Deployed

SIDE_PX = 64
CLASSES = 10


@pytest.fixture(scope="session")
def small_graph(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    torch.manual_seed(0)
    architecture = Architecture(width=8, depths=(1, 1, 1, 1), head=Head.linear(CLASSES))
    network = deploy_form(create(architecture, norm="batchnorm").eval())
    preprocess = Preprocess(height_px=SIDE_PX, width_px=SIDE_PX)
    plan = tracing.InputPlan(
        layout="float32-nchw", height_px=SIDE_PX, width_px=SIDE_PX, batch=None, dynamic_size=False
    )
    model = tracing.trace(Deployed(network, preprocess).eval(), plan, output="logits", opset=18)
    path = tmp_path_factory.mktemp("small") / "small.onnx"
    inputs, outputs = graph_files.tensor_specs(model)
    with artifacts.publishing(path, overwrite=False) as staging:
        graph_files.save(model, staging.path)
        return staging.finish(
            Artifact(
                path=path,
                kind="onnx",
                step="export",
                sha256="",
                architecture="small",
                precision="fp32",
                inputs=inputs,
                outputs=outputs,
                preprocess=preprocess,
                labels=Labels(classes=CLASSES),
                source=Source(kind="random", location="", sha256="0" * 64),
            )
        )
