"""Every kind of TResNet builds with TensorRT-RTX, in small; make test-engines does it in full."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tresnet import create, load_state
from tresnet.architecture import Architecture, Head, InputRule
from tresnet.layers import ActivatedNorm
from tresnet.saving import miil_state
from tresnet_deploy import fusions, quantize
from tresnet_deploy.contracts import Artifact, Batch, Precision, Source
from tresnet_deploy.export import ExportOptions, export
from tresnet_deploy.images import sample_photos

rtx = pytest.importorskip(
    "tresnet_deploy.backends.tensorrt_rtx",
    reason="tensorrt-rtx is not installed",
    exc_type=ImportError,
)

SIDE_PX = 32
SIZES = Batch(min=1, opt=2, max=4)
TARGETS = "8.0,8.6,8.9,12.0"
PLAIN = Architecture(width=16, depths=(1, 1, 1, 1), head=Head.linear(5))
NETWORKS = {
    "v1": PLAIN,
    "v2": dataclasses.replace(PLAIN, family="v2"),
    "frelu": dataclasses.replace(PLAIN, family="v2", activation="frelu"),
    "ml-decoder": dataclasses.replace(
        PLAIN, head=Head.ml_decoder(9, groups=4, embedding=16, hidden=24)
    ),
}
FORMS = {
    "open sides": {"dynamic_size": True},
    "bytes in": {"layout": "uint8-nhwc", "activation": "softmax", "normalize": True},
}

Graph = Callable[..., Artifact]


@pytest.fixture(scope="session")
def graph_of(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Export a network with the given options, once."""
    made: dict[tuple[object, ...], Artifact] = {}

    def once(network: str, **options: object) -> Artifact:
        key = (network, *options.items())
        if key not in made:
            torch.manual_seed(0)
            model = create(NETWORKS[network], norm="batchnorm").eval()
            for norm in model.modules():
                if isinstance(norm, ActivatedNorm):
                    torch.nn.init.normal_(norm.weight)
            rule = InputRule(image_px=SIDE_PX, resize="squish")
            made[key] = export(
                load_state(miil_state(model), norm="batchnorm", input_rule=rule),
                tmp_path_factory.mktemp("network") / "tiny.onnx",
                source=Source(kind="random", location="", sha256="0" * 64, seed=0),
                options=ExportOptions(**options),
                images=sample_photos(),
            )
        return made[key]

    return once


def typed(graph: Artifact, precision: Precision, folder: Path) -> Artifact:
    """Return ``graph`` in ``precision``."""
    target = folder / f"tiny.{precision}.onnx"
    if precision == "fp16":
        return quantize.convert(graph, target, precision="fp16")
    if precision == "int8":
        options = quantize.QuantizeOptions(samples=4, method="minmax")
        return quantize.quantize(graph, target, images=sample_photos(), options=options)
    return graph


def built(graph: Artifact, folder: Path, targets: str) -> Artifact:
    chosen = dataclasses.replace(rtx.options_for(graph.precision), compute_capabilities=targets)
    made: Artifact = rtx.build(graph, folder / "engine", batch=SIZES, options=chosen)
    return made


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("network", NETWORKS)
def test_every_kind_of_network_builds_in_every_precision(
    network: str, precision: Precision, graph_of: Graph, tmp_path: Path
) -> None:
    engine = built(typed(graph_of(network), precision, tmp_path), tmp_path, TARGETS)
    report = fusions.read(engine)
    assert report is not None
    assert report.totals is not None, report.reason
    assert report.totals.convolutions > 0


@pytest.mark.parametrize(
    ("network", "precision"), [("v1", "fp16"), ("ml-decoder", "fp16"), ("ml-decoder", "int8")]
)
def test_turing_takes_every_network_that_has_no_fp32_head(
    network: str, precision: Precision, graph_of: Graph, tmp_path: Path
) -> None:
    graph = typed(graph_of(network), precision, tmp_path)
    assert built(graph, tmp_path, "7.5").path.stat().st_size > 0


@pytest.mark.parametrize("form", FORMS)
def test_other_inputs_build_too(form: str, graph_of: Graph, tmp_path: Path) -> None:
    graph = graph_of("v1", **FORMS[form])
    engine = built(typed(graph, "fp16", tmp_path), tmp_path, TARGETS)
    assert [size for size in engine.inputs[0].shape[1:] if isinstance(size, str)] == []
