"""FP32 islands: where FP16 would overflow, and nowhere else."""

import dataclasses
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from tresnet_deploy.calibration import Noise

from tresnet_deploy import artifacts, graph_files
from tresnet_deploy.backends import onnxruntime
from tresnet_deploy.contracts import Array, Artifact, Batch, Preprocess
from tresnet_deploy.images import demo_images
from tresnet_deploy.precision import ranges
from tresnet_deploy.precision.half import to_half
from tresnet_deploy.precision.islands import FP16_MAX, MARGIN, mark, summary, wide_nodes
from tresnet_deploy.precision.pairs import insert
from tresnet_deploy.precision.placement import place
from tresnet_deploy.quantize import QuantizeOptions, convert, quantize

from .conftest import SIDE_PX, Network, evaluated, parsed, ranges_of, snr_db

FP16 = ir.DataType.FLOAT16
FACTOR = 2e5


def stretched(model: ir.Model, block: str = "layer1.0", factor: float = FACTOR) -> ir.Model:
    """Let one activation grow by ``factor``: the next layer takes it back, so outputs stay.

    Leaky ReLUs are homogeneous, which is why trained networks may hide such channels.
    """
    for name, times in (
        (f"{block}.conv1.conv.weight", factor),
        (f"{block}.conv1.conv.bias", factor),
        (f"{block}.conv2.conv.weight", 1 / factor),
    ):
        value = model.graph.initializers[name]
        assert value.const_value is not None
        array = value.const_value.numpy() * np.float32(times)
        value.const_value = ir.tensor(array, name=name)
    return model


def measured(model: ir.Model, batch: Batch | None = None) -> dict[str, float]:
    data = Noise(count=3, seed=0, preprocess=Preprocess(height_px=SIDE_PX, width_px=SIDE_PX))
    return ranges.largest(
        model,
        lambda graph, names: onnxruntime.session_of(graph, extra_outputs=names),
        data,
        batch,
    )


def without_warnings(model: ir.Model, images: Array) -> Array:
    """Evaluate one image only: NumPy takes seconds for it in FP16."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy says that FP16 overflows
        return evaluated(model, images[:1])


def test_without_islands_the_outputs_are_lost_and_with_them_they_stay(
    network: Network, images: Array
) -> None:
    wanted = evaluated(network("linear"), images)
    lost = stretched(network("linear"))
    to_half(lost, FP16)
    assert not np.isfinite(without_warnings(lost, images)).all()

    kept = stretched(network("linear"))
    mark(kept.graph, measured(kept))
    to_half(kept, FP16)
    onnx.checker.check_model(ir.to_proto(kept), full_check=True)
    assert snr_db(without_warnings(kept, images), wanted[:1]) > 50


def test_only_what_touches_the_large_values_stays_float(network: Network) -> None:
    model = stretched(network("linear"))
    marked = mark(model.graph, measured(model))
    assert marked == ("layer1.0.conv1.conv/Conv", "layer1.0.conv1.activation/LeakyRelu")
    wide = {node.name for node in wide_nodes(model.graph)}
    assert wide == {*marked, "layer1.0.conv2.conv/Conv"}
    to_half(model, FP16)
    floats = {node.name for node in model.graph if node.outputs[0].dtype == ir.DataType.FLOAT}
    casts = {name for name in floats if name is not None and name.endswith("/Cast")}
    assert wide <= floats
    assert len(casts) == 2, "into the island, and out of the graph"


def test_an_ordinary_network_has_no_island(network: Network) -> None:
    model = network("linear")
    assert mark(model.graph, measured(model)) == ()
    assert summary(wide_nodes(model.graph)) == ""


def test_the_margin_is_named_and_kept() -> None:
    model = parsed(
        "g (float[N,1,4,4] x) => (float[N,1,4,4] y) { y = Conv(x, w) }",
        w=np.ones((1, 1, 1, 1), np.float32),
    )
    assert mark(model.graph, {"y": FP16_MAX / MARGIN}) == ()
    assert mark(model.graph, {"y": FP16_MAX / MARGIN + 1}) == ("y",)
    assert summary(wide_nodes(model.graph)) == "y reaches 1.638e+04; FP16 ends at 65504"
    assert mark(model.graph, {"y": float("inf")}) == ("y",)


def test_bf16_needs_no_island(network: Network, images: Array) -> None:
    model = stretched(network("linear"))
    wanted = evaluated(network("linear"), images)
    mark(model.graph, measured(model))
    to_half(model, ir.DataType.BFLOAT16)
    assert snr_db(evaluated(model, images), wanted) > 30


def test_ranges_are_those_of_a_plain_run_at_any_batch(network: Network) -> None:
    model = network("linear")
    found = measured(model)
    assert found == measured(model, Batch(min=4, opt=4, max=4))
    noise = Noise(count=3, seed=0, preprocess=Preprocess(height_px=SIDE_PX, width_px=SIDE_PX))
    (portion,) = noise.portions(3)
    wanted = ranges_of(network("linear"), portion.array)
    shared = found.keys() & wanted.keys()
    assert len(shared) > 20
    for name in shared:
        assert found[name] == pytest.approx(wanted[name], rel=1e-4)


def test_marks_travel_with_an_int8_graph_to_its_remainder(network: Network, images: Array) -> None:
    model = stretched(network("linear"))
    wanted = evaluated(network("linear"), images)
    amax = ranges_of(model, images)
    marked = mark(model.graph, amax)
    assert "layer1.0.conv1.activation/LeakyRelu" in marked
    insert(model, place(model.graph), amax)
    again = ir.from_proto(ir.to_proto(model))
    wide = {node.name for node in wide_nodes(again.graph)}
    assert "layer1.0.conv1.activation/LeakyRelu/DequantizeLinear" in wide, (
        "it is as large as before"
    )
    to_half(again, FP16)
    onnx.checker.check_model(ir.to_proto(again), full_check=True)
    assert snr_db(without_warnings(again, images), wanted[:1]) > 15


@pytest.fixture(scope="module")
def stretched_graph(demo_graph: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The trained network in the box, with one activation far beyond FP16."""
    model = stretched(graph_files.load(demo_graph.path), "layer2.1", 5e4)
    path = tmp_path_factory.mktemp("stretched") / "tresnet.onnx"
    graph_files.save(model, path)
    return dataclasses.replace(demo_graph, path=path, sha256=artifacts.sha256_of(path))


def test_convert_keeps_what_would_overflow_and_says_so(
    stretched_graph: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    done = convert(
        stretched_graph, tmp_path / "a.onnx", precision="fp16", images=demo_images("calibration")
    )
    assert done.settings["fp32_nodes"] == 3
    assert "layer2.1.conv1.conv/Conv reaches " in str(done.settings["fp32_because"])
    assert "3 nodes stay FP32: " in caplog.text
    assert done.verified is not None
    assert float(done.verified.split()[1]) > 50


def test_convert_says_nothing_where_nothing_is_kept(
    demo_graph: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    done = convert(demo_graph, tmp_path / "a.onnx", precision="fp16")
    assert "fp32_nodes" not in done.settings
    assert caplog.text == ""


def test_quantize_marks_what_its_calibration_saw(stretched_graph: Artifact, tmp_path: Path) -> None:
    done = quantize(
        stretched_graph,
        tmp_path / "a.onnx",
        images=demo_images("calibration"),
        options=QuantizeOptions(samples=4),
    )
    assert wide_nodes(graph_files.load(done.path).graph)
