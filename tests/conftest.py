"""What several rooms test with: the trained network in the package, exported once a session."""

import importlib.util
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tresnet_deploy.artifacts import to_json
from tresnet_deploy.contracts import Artifact, Labels, Preprocess, Source
from tresnet_deploy.images import demo_checkpoint, demo_images
from tresnet_deploy.results import Gate, ParityReport, StageParity


def pytest_configure() -> None:
    """Let Ctrl-C be tested from a background job too, which starts with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def script() -> Iterator[Callable[[Path], ModuleType]]:
    """Return what loads a file as a module of its own name, though no package has it."""
    loaded: list[str] = []

    def load(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module  # dataclasses look their module up
        loaded.append(path.stem)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        sys.modules.pop(name, None)


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


@pytest.fixture
def parity_of() -> Callable[..., ParityReport]:
    """Return what makes the report of a comparison that an engine passed or failed."""

    def judged(engine: Artifact, *, passed: bool) -> ParityReport:
        gate = Gate(name="same top-1", value=0.5, bound=0.9, direction="at least", passed=passed)
        stage = StageParity(
            stage=f"engine ({engine.backend})",
            precision=engine.precision,
            file=engine.path.name,
            max_abs=0.0,
            mean_abs=0.0,
            cosine_min=1.0,
            snr_db=None,
            top1_agreement=0.5,
            top5_agreement=1.0,
            flips=(),
            gates=(gate,),
            sha256=engine.sha256,
        )
        return ParityReport(
            reference="eager",
            architecture="tresnet_m",
            images=2,
            image_source="two images",
            stages=(stage,),
            verdict="pass" if passed else "fail",
        )

    return judged


@pytest.fixture
def file_verdict(parity_of: Callable[..., ParityReport]) -> Callable[..., None]:
    """Return what files such a report beside the engine."""

    def filed(engine: Artifact, *, passed: bool) -> None:
        report = parity_of(engine, passed=passed)
        engine.path.with_name("parity.json").write_bytes(to_json(report))

    return filed
