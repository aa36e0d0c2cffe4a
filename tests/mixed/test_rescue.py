"""A network with one block that INT8 cannot hold: it is found, and keeping it float rescues it.

One channel inside the block is 4096 times as large as the others and its reader takes that back,
which changes no output: a leaky ReLU and the blur let the factor through.
"""

import dataclasses
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.contracts import Array, Artifact, run
from tresnet_deploy.images import ImageSet, demo_images, sample
from tresnet_deploy.int8_results import BlockLatency, LatencyTable
from tresnet_deploy.mixed import Bound, Wanted, choose
from tresnet_deploy.quantize import QuantizeOptions
from tresnet_deploy.quantize.graphs import runtime_session
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.sensitivity import prepare

FACTOR = np.float32(4096)
OPTIONS = QuantizeOptions(samples=16, method="minmax", pad_channels=False)
BLOCK = "layer2.0"


def scaled(model: ir.Model, name: str, change: Array) -> None:
    value = model.graph.initializers[name]
    assert value.const_value is not None
    value.const_value = ir.tensor(value.const_value.numpy() * change, name=name)


@pytest.fixture(scope="module")
def stressed(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    model = graph_files.load(demo_graph.path)
    width = model.graph.initializers[f"{BLOCK}.conv1.conv.bias"].shape
    assert width is not None
    factors = np.ones(int(width[0]), np.float32)
    factors[0] = FACTOR
    scaled(model, f"{BLOCK}.conv1.conv.weight", factors[:, None, None, None])
    scaled(model, f"{BLOCK}.conv1.conv.bias", factors)
    scaled(model, f"{BLOCK}.conv2.conv.weight", 1 / factors[None, :, None, None])
    path = tmp_path_factory.mktemp("stressed") / "stressed.onnx"
    graph_files.save(model, path)
    return dataclasses.replace(demo_graph, path=path, sha256=artifacts.sha256_of(path))


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return sample(demo_images("test"), 50, seed=0)


def test_the_factor_changes_no_output(demo_graph: Artifact, stressed: Artifact) -> None:
    pixels = np.random.default_rng(0).random((4, 3, 64, 64), dtype=np.float32)
    found = [
        run(runtime_session(graph_files.load(each.path)), {"images": pixels})["logits"]
        for each in (demo_graph, stressed)
    ]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-4)


def test_the_one_block_that_collapses_is_kept_float(
    stressed: Artifact, images: ImageSet, tmp_path: Path
) -> None:
    forms = prepare(stressed, tmp_path, images=demo_images("calibration"), options=OPTIONS)
    blocks = tuple(
        BlockLatency(block=unit.block, float_ms=2.0, int8_ms=1.0) for unit in forms.units("block")
    )
    table = tmp_path / "table.json"
    table.write_bytes(
        artifacts.to_json(LatencyTable(engine="any", device="", batch=1, blocks=blocks))
    )
    backend = BACKENDS.load("onnxruntime")
    chosen = choose(
        stressed,
        tmp_path,
        Wanted(
            bound=Bound(kind="min-agreement", share=0.94),
            backend="onnxruntime",
            options=backend.options_for("int8"),
            latency_table=table,
        ),
        calibration=demo_images("calibration"),
        images=images,
        options=OPTIONS,
    )
    assert chosen.sensitivity.ranked()[0].name == BLOCK
    report = chosen.report
    plain = next(point for point in report.curve if not point.kept)
    assert not plain.met
    assert plain.judged.snr_db is not None
    assert plain.judged.snr_db < 12
    assert report.kept == (BLOCK,)
    assert report.chosen is not None
    assert report.chosen.judged.agreement >= 0.94
