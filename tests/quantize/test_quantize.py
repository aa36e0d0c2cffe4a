"""The steps from file to file, on the trained network in the box."""

import dataclasses
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from tresnet_deploy import artifacts, graph_files, passes
from tresnet_deploy.backends import onnxruntime, openvino
from tresnet_deploy.contracts import Array, Artifact, Session, run
from tresnet_deploy.errors import ImageError, QuantizeError, UsageError
from tresnet_deploy.images import ImageSet, batches, demo_images, of_files, sample
from tresnet_deploy.quantize import QuantizeOptions, convert, quantize

from .conftest import snr_db

IMAGES = 40
OPTIONS = QuantizeOptions(samples=IMAGES)
Outputs = Callable[[Session], Array]


@pytest.fixture(scope="module")
def calibration() -> ImageSet:
    return sample(demo_images("calibration"), IMAGES, seed=0)


@pytest.fixture(scope="module")
def int8(
    demo_graph: Artifact, calibration: ImageSet, tmp_path_factory: pytest.TempPathFactory
) -> Artifact:
    target = tmp_path_factory.mktemp("int8") / "tresnet.int8.onnx"
    return quantize(demo_graph, target, images=calibration, options=OPTIONS)


@pytest.fixture(scope="module")
def outputs(demo_graph: Artifact) -> Outputs:
    """Run a session on test images and close it."""
    test = sample(demo_images("test"), 50, seed=0)
    arrays = [batch.array for batch in batches(test, demo_graph.preprocess, 25)]

    def of(session: Session) -> Array:
        try:
            return np.concatenate([run(session, {"images": a})["logits"] for a in arrays])
        finally:
            session.close()

    return of


@pytest.fixture(scope="module")
def float_outputs(demo_graph: Artifact, outputs: Outputs) -> Array:
    return outputs(onnxruntime.load(demo_graph))


@pytest.mark.parametrize("backend", [onnxruntime, openvino], ids=["onnxruntime", "openvino"])
def test_the_int8_graph_runs_near_the_float_graph(
    int8: Artifact, outputs: Outputs, float_outputs: Array, backend: object
) -> None:
    assert backend in (onnxruntime, openvino)
    found = outputs(openvino.load(int8) if backend is openvino else onnxruntime.load(int8))
    assert snr_db(found, float_outputs) > 25
    assert (found.argmax(1) == float_outputs.argmax(1)).mean() >= 0.96


def test_the_graph_keeps_to_the_rules_that_tensorrt_parses_by(int8: Artifact) -> None:
    graph = graph_files.load(int8.path).graph
    for node in graph:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        integers = node.outputs[0] if node.op_type == "QuantizeLinear" else node.inputs[0]
        assert integers is not None
        assert integers.dtype == ir.DataType.INT8, "biases and uint8 are refused"
        for zero_point in node.inputs[2:]:
            assert zero_point is not None
            assert zero_point.const_value is not None
            assert not np.any(zero_point.const_value.numpy())


def test_the_artefact_says_how_it_was_made(int8: Artifact, demo_graph: Artifact) -> None:
    assert (int8.step, int8.precision, int8.kind) == ("quantize", "int8", "onnx")
    assert [parent.sha256 for parent in int8.parents] == [demo_graph.sha256]
    assert int8.settings["method"] == "mse"
    assert int8.settings["calibration_images"] == IMAGES
    assert int8.settings["int8_layers"] == 60
    assert int8.verified is not None
    assert "top-1 agreement" in int8.verified
    assert int8.verified.startswith(f"SNR {int8.settings['snr_db']} dB")
    assert artifacts.read(int8.path) == int8
    assert (int8.inputs, int8.outputs) == (demo_graph.inputs, demo_graph.outputs)


def test_the_same_request_gives_the_same_bytes(
    int8: Artifact, demo_graph: Artifact, calibration: ImageSet, tmp_path: Path
) -> None:
    again = quantize(demo_graph, tmp_path / int8.path.name, images=calibration, options=OPTIONS)
    assert again.sha256 == int8.sha256


def test_the_file_is_less_than_a_third_of_the_float_file(
    int8: Artifact, demo_graph: Artifact
) -> None:
    assert int8.path.stat().st_size * 3 < demo_graph.path.stat().st_size * 1.05


def test_other_layers_reuse_the_calibration_table(
    int8: Artifact,
    demo_graph: Artifact,
    calibration: ImageSet,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "tresnet_deploy")
    fewer = quantize(
        demo_graph,
        int8.path.with_name("fewer.onnx"),
        images=calibration,
        options=dataclasses.replace(OPTIONS, exclude=("^stem", "^layer4")),
    )
    assert "calibration table taken from" in caplog.text
    assert fewer.settings["int8_layers"] == 60 - 1 - 10
    assert fewer.settings["exclude"] == "^stem ^layer4"


def test_everything_can_be_quantised(
    int8: Artifact, demo_graph: Artifact, calibration: ImageSet
) -> None:
    done = quantize(
        demo_graph,
        int8.path.with_name("everything.onnx"),
        images=calibration,
        options=dataclasses.replace(OPTIONS, quantize_all=True),
    )
    assert done.settings["int8_layers"] == 100


def test_padded_channels_change_no_output(
    int8: Artifact, demo_graph: Artifact, calibration: ImageSet, outputs: Outputs
) -> None:
    # Widths of 16 and 32 are padded to multiples of 32.
    padded = quantize(
        demo_graph,
        int8.path.with_name("padded.onnx"),
        images=calibration,
        options=dataclasses.replace(OPTIONS, pad_channels=True),
    )
    assert padded.settings["pad_channels"] is True
    found, wanted = outputs(onnxruntime.load(padded)), outputs(onnxruntime.load(int8))
    np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_noise_needs_no_images_and_says_what_it_is(
    demo_graph: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options = QuantizeOptions(samples=4, random_calibration=True)
    done = quantize(demo_graph, tmp_path / "noise.onnx", images=None, options=options)
    assert done.settings["random_calibration"] is True
    assert "random noise" in caplog.text


def test_without_images_noise_must_be_asked_for(demo_graph: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no images to calibrate on") as caught:
        quantize(demo_graph, tmp_path / "a.onnx", images=None, options=QuantizeOptions())
    assert any("--random-calibration" in hint for hint in caught.value.hints)


def test_notes_of_the_images_are_passed_on(
    demo_graph: Artifact,
    calibration: ImageSet,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    noted = dataclasses.replace(calibration, notes=("your own images are better",))
    quantize(demo_graph, tmp_path / "a.onnx", images=noted, options=QuantizeOptions(samples=4))
    assert "your own images are better" in caplog.text


def test_a_quantised_graph_is_not_quantised_again(
    int8: Artifact, calibration: ImageSet, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="is no FP32 graph but int8"):
        quantize(int8, tmp_path / "a.onnx", images=calibration, options=OPTIONS)
    disguised = dataclasses.replace(int8, precision="fp32")
    with pytest.raises(UsageError, match=r"is quantised already: it has 1\d\d nodes such as"):
        quantize(disguised, tmp_path / "a.onnx", images=calibration, options=OPTIONS)
    with pytest.raises(UsageError, match="FP16 is made from FP32"):
        convert(int8, tmp_path / "a.onnx", precision="fp16")


def test_an_engine_is_not_quantised(
    demo_graph: Artifact, calibration: ImageSet, tmp_path: Path
) -> None:
    engine = dataclasses.replace(demo_graph, kind="engine")
    with pytest.raises(UsageError, match="is no FP32 graph but engine"):
        quantize(engine, tmp_path / "a.onnx", images=calibration, options=OPTIONS)


def test_excluding_every_layer_is_refused(
    demo_graph: Artifact, calibration: ImageSet, tmp_path: Path
) -> None:
    options = QuantizeOptions(samples=2, exclude=(".",))
    with pytest.raises(UsageError, match="no layer is left to quantise"):
        quantize(demo_graph, tmp_path / "a.onnx", images=calibration, options=options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"method": "best"}, "no calibration method is called 'best'"), ({"samples": 0}, "0 images")],
)
def test_wrong_options_are_refused_before_any_work(
    changes: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        QuantizeOptions(**changes)  # type: ignore[arg-type]


def test_a_wrong_exclude_is_refused_before_calibrating(
    demo_graph: Artifact, calibration: ImageSet, tmp_path: Path
) -> None:
    def never(model: ir.Model, tensors: Sequence[str]) -> Session:
        raise AssertionError("no session must be opened")

    with pytest.raises(UsageError, match="matches none"):
        quantize(
            demo_graph,
            tmp_path / "a.onnx",
            images=calibration,
            options=QuantizeOptions(exclude=("^layer9",)),
            open_session=never,
        )


def test_nan_in_an_activation_is_named_and_leaves_nothing(
    demo_graph: Artifact, calibration: ImageSet, tmp_path: Path
) -> None:
    def broken(model: ir.Model, tensors: Sequence[str]) -> Session:
        copy = model.clone()
        bias = copy.graph.initializers["layer2.1.conv1.conv.bias"]
        assert bias.const_value is not None
        bias.const_value = ir.tensor(bias.const_value.numpy() * np.float32("nan"), name=bias.name)
        session: Session = onnxruntime.session_of(copy, extra_outputs=tensors)
        return session

    with pytest.raises(QuantizeError, match=r"the activation layer2\.1\.conv1") as caught:
        quantize(
            demo_graph,
            tmp_path / "a.onnx",
            images=calibration,
            options=OPTIONS,
            open_session=broken,
        )
    assert caught.value.exit_code == 4
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_unreadable_images_are_skipped_with_a_warning_or_refused(
    demo_graph: Artifact,
    calibration: ImageSet,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"nothing to see")
    images = of_files([*(file.path for file in calibration.files[:3]), broken])
    done = quantize(demo_graph, tmp_path / "a.onnx", images=images, options=OPTIONS)
    assert done.settings["calibration_images"] == 3
    assert "broken.png is no image" in caplog.text
    strict = dataclasses.replace(OPTIONS, strict=True)
    with pytest.raises(ImageError, match=r"broken\.png"):
        quantize(demo_graph, tmp_path / "b.onnx", images=images, options=strict)
    assert not (tmp_path / "b.onnx").exists()


def test_an_existing_file_is_kept_unless_it_may_be_replaced(
    demo_graph: Artifact, calibration: ImageSet, tmp_path: Path
) -> None:
    target = tmp_path / "a.onnx"
    target.write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        quantize(demo_graph, target, images=calibration, options=OPTIONS)
    with pytest.raises(UsageError, match="exists already"):
        convert(demo_graph, target, precision="fp16")
    assert target.read_text() == "mine"


@pytest.mark.parametrize(("precision", "least_db"), [("fp16", 50.0), ("bf16", 30.0)])
def test_half_graphs_are_run_beside_the_float_graph(
    demo_graph: Artifact, tmp_path: Path, precision: str, least_db: float
) -> None:
    assert precision in ("fp16", "bf16")
    target = tmp_path / f"tresnet.{precision}.onnx"
    done = convert(demo_graph, target, precision="fp16" if precision == "fp16" else "bf16")
    assert (done.step, done.precision) == ("convert", precision)
    assert done.verified is not None
    assert float(done.verified.split()[1]) > least_db
    assert target.stat().st_size < 0.55 * demo_graph.path.stat().st_size
    onnx.checker.check_model(str(target), full_check=True)
    assert artifacts.read(target) == done


def test_a_bf16_graph_without_a_runtime_has_its_types_checked_only(
    demo_graph: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("openvino", "_openvino_session"):
        monkeypatch.delitem(sys.modules, f"tresnet_deploy.backends.{name}")
    monkeypatch.setitem(sys.modules, "openvino", None)
    done = convert(demo_graph, tmp_path / "a.onnx", precision="bf16")
    assert done.verified == "types checked; not run, as no runtime here computes bf16"


def test_an_inlined_graph_gives_the_same_integers(
    int8: Artifact, demo_graph: Artifact, calibration: ImageSet, tmp_path: Path
) -> None:
    model = graph_files.load(demo_graph.path)
    passes.run(model, ("inline-operators",))
    path = tmp_path / "inlined.onnx"
    graph_files.save(model, path)
    inlined = dataclasses.replace(demo_graph, path=path, sha256=artifacts.sha256_of(path))
    done = quantize(inlined, tmp_path / "a.onnx", images=calibration, options=OPTIONS)
    kept = graph_files.load(int8.path).graph.initializers
    for name, value in graph_files.load(done.path).graph.initializers.items():
        if name in kept and value.dtype == ir.DataType.INT8:
            first, second = kept[name].const_value, value.const_value
            assert first is not None
            assert second is not None
            np.testing.assert_array_equal(first.numpy(), second.numpy())
