"""The narrow TResNet-M of the demo, built for real: what the builder leaves unfused stays small.

The counts are those of TensorRT-RTX 1.7.1, which the golden samples are of too; a later one may
only do better.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from tresnet_deploy import fusions, graph_files, quantize
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.fusions import FusionReport
from tresnet_deploy.precision.half import to_half

rtx = pytest.importorskip(
    "tresnet_deploy.backends.tensorrt_rtx",
    reason="tensorrt-rtx is not installed",
    exc_type=ImportError,
)
SIZES = Batch(min=1, opt=8, max=16)
CONVOLUTIONS = 99


def built(path: Path) -> FusionReport:
    facts = fusions.facts_of(graph_files.load(path))
    found = fusions.parse(rtx.layers_of(path, batch=SIZES), facts)
    assert found.available, found.reason
    return found


@pytest.fixture(scope="module")
def fp16(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> FusionReport:
    folder = tmp_path_factory.mktemp("fp16")
    return built(quantize.convert(demo_graph, folder / "net.onnx", precision="fp16").path)


@pytest.fixture(scope="module")
def int8(demo_int8: Artifact, tmp_path_factory: pytest.TempPathFactory) -> FusionReport:
    """The Q/DQ graph with an FP16 remainder, as the backend builds it."""
    model = graph_files.load(demo_int8.path)
    to_half(model, ir.DataType.FLOAT16)
    path = tmp_path_factory.mktemp("int8") / "net.onnx"
    graph_files.save(model, path)
    return built(path)


def test_fp16_leaves_no_pair_and_twelve_extra_kernels(fp16: FusionReport) -> None:
    """Eight transpositions before squeeze-and-excite, three reflect pads, one SpaceToDepth."""
    assert fp16.totals is not None
    assert fp16.totals.unfused_pairs == 0
    assert fp16.totals.extra_kernels <= 12
    assert {len(fp16.of(kind)) for kind in ("cast", "quantisation left")} == {0}


def test_fp16_fuses_all_activations_but_the_ten_that_join_a_mean(fp16: FusionReport) -> None:
    assert fp16.totals is not None
    assert fp16.totals.activated == 72
    apart = fp16.of("activation apart")
    assert len(apart) <= 10
    assert all("layer3" in finding.origin[0] for finding in apart)


def test_int8_leaves_five_pairs_and_six_extra_kernels(int8: FusionReport) -> None:
    """Pairs after two blurs and three average pools, which compute in float; SpaceToDepth."""
    assert int8.totals is not None
    assert int8.totals.unfused_pairs <= 5
    assert int8.totals.extra_kernels <= 6
    assert all(
        "blur" in finding.origin[0] or "pool" in finding.origin[0]
        for finding in int8.of("quantisation left")
    )


def test_each_convolution_of_the_graph_is_in_some_kernel(
    fp16: FusionReport, int8: FusionReport
) -> None:
    for found in (fp16, int8):
        assert found.totals is not None
        assert (found.totals.convolutions, found.totals.untold) == (CONVOLUTIONS, 0)
