"""Triton's model repository: valid by Triton's own schema, and the served file is the engine."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format

from tresnet_deploy import artifacts, gpus, packaging
from tresnet_deploy.contracts import Artifact, Batch, Labels
from tresnet_deploy.errors import ArtifactError, GateError, RunError, UsageError
from tresnet_deploy.images import demo_images
from tresnet_deploy.packaging import Serving, triton
from tresnet_deploy.packaging.config import config_of

from .conftest import copied

SERVING = Serving(name="demo_int8")
IMAGES = demo_images("calibration")


def parsed(text: str, schema: ModuleType) -> Any:
    """Return the message; an unknown field or a wrong type is an error of the parser."""
    config = text_format.Parse(text, schema.ModelConfig())
    check_as_triton(config, schema)
    return config


def check_as_triton(config: Any, schema: ModuleType) -> None:
    """What the schema cannot say: the rules of ValidateModelConfig in Triton's core."""
    pairs = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan", "openvino": ""}
    assert config.platform == pairs[config.backend]
    largest = config.max_batch_size
    batching = config.dynamic_batching
    assert not config.HasField("dynamic_batching") or largest > 1
    assert all(0 < size <= largest for size in batching.preferred_batch_size)
    for io in (*config.input, *config.output):
        assert io.name
        assert io.data_type != schema.TYPE_INVALID
        assert io.dims
        assert all(size >= 1 or size == -1 for size in io.dims)
    plain = schema.ModelInput.FORMAT_NONE
    assert all(io.format == plain or len(io.dims) == 3 for io in config.input)
    for warm in config.model_warmup:
        assert 1 <= warm.batch_size <= max(1, largest)
        assert set(warm.inputs) == {io.name for io in config.input}
        assert all(size >= 1 for each in warm.inputs.values() for size in each.dims)
    assert all(group.count >= 1 for group in config.instance_group)


def as_plan(engine: Artifact, **changes: Any) -> Artifact:
    """Return the description of a TensorRT engine of the same network."""
    return dataclasses.replace(engine, backend="tensorrt", device="a GPU", settings={}, **changes)


@pytest.fixture(scope="module")
def repository(openvino_engine: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the repository of the OpenVINO engine, served in batches of up to 4."""
    place = tmp_path_factory.mktemp("models")
    serving = dataclasses.replace(SERVING, max_batch=4, queue_delay_us=200, instances=2)
    written = packaging.write(openvino_engine, place, serving, images=IMAGES)
    assert (
        written.proof == "model.xml answers as demo.int8.openvino.xml on 4 images, to the last bit"
    )
    return place


def test_the_repository_has_triton_s_layout(repository: Path) -> None:
    files = {path.relative_to(repository).as_posix() for path in repository.rglob("*.*")}
    assert files - {".tresnet-deploy.lock"} == {
        "demo_int8/config.pbtxt",
        "demo_int8/labels.txt",
        "demo_int8/tresnet-deploy.json",
        "demo_int8/1/model.xml",
        "demo_int8/1/model.bin",
    }


def test_the_served_bytes_are_the_engine_s(repository: Path, openvino_engine: Artifact) -> None:
    served = repository / "demo_int8" / "1" / "model.xml"
    assert artifacts.sha256_of(served) == openvino_engine.sha256
    origin = json.loads((repository / "demo_int8" / "tresnet-deploy.json").read_bytes())
    assert origin["sha256"] == openvino_engine.sha256


def test_the_config_says_what_the_engine_takes(repository: Path, triton_schema: ModuleType) -> None:
    config = parsed((repository / "demo_int8" / "config.pbtxt").read_text(), triton_schema)
    assert (config.name, config.backend, config.max_batch_size) == ("demo_int8", "openvino", 4)
    (images,), (logits,) = config.input, config.output
    assert (images.name, list(images.dims)) == ("images", [3, 64, 64])
    assert images.data_type == triton_schema.TYPE_FP32
    assert images.format == triton_schema.ModelInput.FORMAT_NCHW
    assert (logits.name, list(logits.dims), logits.label_filename) == ("logits", [10], "labels.txt")
    assert list(config.dynamic_batching.preferred_batch_size) == [4]
    assert config.dynamic_batching.max_queue_delay_microseconds == 200
    assert [(group.count, group.kind) for group in config.instance_group] == [
        (2, triton_schema.ModelInstanceGroup.KIND_CPU)
    ]
    assert config.version_policy.latest.num_versions == 1
    assert [warm.batch_size for warm in config.model_warmup] == [1, 4]
    assert all(list(warm.inputs["images"].dims) == [3, 64, 64] for warm in config.model_warmup)


def test_labels_are_one_a_line_in_the_order_of_the_outputs(
    repository: Path, openvino_engine: Artifact
) -> None:
    lines = (repository / "demo_int8" / "labels.txt").read_text("utf-8").splitlines()
    assert tuple(lines) == openvino_engine.labels.names


def test_the_served_file_runs_as_triton_s_openvino_backend_runs_it(
    repository: Path, openvino_engine: Artifact, triton_schema: ModuleType
) -> None:
    """The calls of openvino_backend/src/openvino.cc, on what the config says."""
    import openvino
    from openvino.preprocess import PrePostProcessor

    config = parsed((repository / "demo_int8" / "config.pbtxt").read_text(), triton_schema)
    parameters = {name: value.string_value for name, value in config.parameters.items()}
    core = openvino.Core()
    model = core.read_model(repository / "demo_int8" / "1" / config.default_model_filename)
    processor = PrePostProcessor(model)
    for spec in config.input:
        processor.input(spec.name).tensor().set_element_type(openvino.Type.f32)
        processor.input(spec.name).tensor().set_layout(openvino.Layout("N..."))
    model = processor.build()
    openvino.set_batch(model, config.max_batch_size)
    (output,) = model.outputs
    assert output.get_partial_shape().to_shape() == (4, *config.output[0].dims)
    properties: dict[str, object] = {
        "PERFORMANCE_HINT": parameters["PERFORMANCE_HINT"],
        "NUM_STREAMS": parameters["NUM_STREAMS"],
        "ALLOW_AUTO_BATCHING": parameters.get("SKIP_OV_DYNAMIC_BATCHSIZE") != "YES",
    }
    if parameters.get("HINT_BF16") == "YES":
        properties["INFERENCE_PRECISION_HINT"] = "bf16"
    assert parameters["ENABLE_BATCH_PADDING"] == "YES"
    request = core.compile_model(model, "CPU", properties).create_infer_request()
    array = np.random.default_rng(0).random((3, 3, 64, 64), np.float32)
    padded = np.concatenate([array, np.zeros((1, 3, 64, 64), np.float32)])
    request.infer({"images": padded})
    found = request.get_tensor("logits").data[:3]
    expected = triton._answers(openvino_engine, array)
    assert (found.argmax(1) == expected.argmax(1)).all()
    np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


def test_openvino_serves_lone_requests_unless_batches_are_asked_for(
    openvino_engine: Artifact, triton_schema: ModuleType
) -> None:
    config = parsed(config_of(openvino_engine, SERVING), triton_schema)
    assert config.max_batch_size == 1
    assert not config.HasField("dynamic_batching")
    assert "ENABLE_BATCH_PADDING" not in config.parameters


def test_onnx_runtime_is_served_with_its_threads(
    onnxruntime_engine: Artifact, tmp_path: Path, triton_schema: ModuleType
) -> None:
    written = packaging.write(onnxruntime_engine, tmp_path, SERVING, images=IMAGES)
    config = parsed(written.config, triton_schema)
    assert (config.backend, config.platform) == ("onnxruntime", "onnxruntime_onnx")
    assert config.max_batch_size == 4
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4]
    assert config.parameters["intra_op_thread_count"].string_value == "2"
    served = tmp_path / "demo_int8" / "1" / "model.onnx"
    assert artifacts.sha256_of(served) == onnxruntime_engine.sha256


def test_a_tensorrt_plan_is_served_by_gpu_instances(
    openvino_engine: Artifact, triton_schema: ModuleType
) -> None:
    config = parsed(config_of(as_plan(openvino_engine), SERVING), triton_schema)
    assert (config.backend, config.platform) == ("tensorrt", "tensorrt_plan")
    assert config.default_model_filename == "model.plan"
    assert config.instance_group[0].kind == triton_schema.ModelInstanceGroup.KIND_GPU
    assert config.max_batch_size == 4
    assert list(config.dynamic_batching.preferred_batch_size) == [2, 4]


@pytest.mark.skipif(bool(gpus.visible()), reason="a GPU would run the plan, and this is none")
def test_a_plan_is_copied_as_it_is_where_no_gpu_runs_it(
    openvino_engine: Artifact, tmp_path: Path
) -> None:
    described = as_plan(openvino_engine, versions={"tensorrt": "11.4.0.12"})
    with artifacts.publishing(tmp_path / "demo.int8.tensorrt.engine", overwrite=False) as staging:
        staging.path.write_bytes(b"ftrt" + bytes(20) + bytes((11, 4, 0, 12)) + bytes(100))
        engine = staging.finish(described)
    written = packaging.write(engine, tmp_path / "models", SERVING, images=IMAGES)
    assert written.proof == (
        "model.plan has the engine's bytes; it was not run, which takes its GPU"
    )
    served = tmp_path / "models" / "demo_int8" / "1" / "model.plan"
    assert served.read_bytes() == engine.path.read_bytes()
    assert packaging.name_of(engine) == "demo_int8"


def test_an_engine_of_one_batch_size_names_it_in_the_dims(
    openvino_engine: Artifact, triton_schema: ModuleType
) -> None:
    spec = dataclasses.replace(openvino_engine.inputs[0], shape=(8, 3, 64, 64))
    fixed = dataclasses.replace(openvino_engine, batch=Batch(min=8, opt=8, max=8), inputs=(spec,))
    config = parsed(config_of(fixed, SERVING), triton_schema)
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [8, 3, 64, 64]
    assert config.input[0].format == triton_schema.ModelInput.FORMAT_NONE
    assert [warm.batch_size for warm in config.model_warmup] == [1]
    with pytest.raises(UsageError, match="takes batches of 8 only"):
        config_of(fixed, dataclasses.replace(SERVING, max_batch=4))


def test_open_image_sides_are_left_open_and_warmed_up_at_the_usual_size(
    onnxruntime_engine: Artifact, triton_schema: ModuleType
) -> None:
    spec = dataclasses.replace(onnxruntime_engine.inputs[0], shape=("n", 3, "h", "w"))
    engine = dataclasses.replace(onnxruntime_engine, inputs=(spec,))
    config = parsed(config_of(engine, SERVING), triton_schema)
    assert list(config.input[0].dims) == [3, -1, -1]
    assert list(config.model_warmup[0].inputs["images"].dims) == [3, 64, 64]


def test_bytes_of_images_are_served_as_they_are_stored(
    onnxruntime_engine: Artifact, triton_schema: ModuleType
) -> None:
    spec = dataclasses.replace(onnxruntime_engine.inputs[0], dtype="uint8", shape=("n", 64, 64, 3))
    preprocess = dataclasses.replace(onnxruntime_engine.preprocess, layout="uint8-nhwc")
    engine = dataclasses.replace(onnxruntime_engine, inputs=(spec,), preprocess=preprocess)
    config = parsed(config_of(engine, SERVING), triton_schema)
    assert config.input[0].data_type == triton_schema.TYPE_UINT8
    assert config.input[0].format == triton_schema.ModelInput.FORMAT_NHWC
    assert list(config.input[0].dims) == [64, 64, 3]


def test_any_name_of_a_tensor_survives_the_text_format(
    onnxruntime_engine: Artifact, triton_schema: ModuleType
) -> None:
    name = 'bild "größe"\\n\n\t'
    spec = dataclasses.replace(onnxruntime_engine.outputs[0], name=name)
    engine = dataclasses.replace(onnxruntime_engine, outputs=(spec,))
    assert parsed(config_of(engine, SERVING), triton_schema).output[0].name == name


def test_without_class_names_there_is_no_label_file(
    openvino_engine: Artifact, triton_schema: ModuleType
) -> None:
    engine = dataclasses.replace(openvino_engine, labels=Labels(classes=10))
    assert parsed(config_of(engine, SERVING), triton_schema).output[0].label_filename == ""


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "with space", "a\nb"])
def test_a_name_that_would_leave_the_repository_is_refused(
    openvino_engine: Artifact, tmp_path: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="no name for a model"):
        packaging.write(openvino_engine, tmp_path / "models", Serving(name=name), images=IMAGES)
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("backend", ["tensorrt-rtx", "pytorch"])
def test_an_engine_that_triton_cannot_serve_is_refused(
    openvino_engine: Artifact, tmp_path: Path, backend: str
) -> None:
    engine = dataclasses.replace(openvino_engine, backend=backend)
    with pytest.raises(UsageError, match=f"engine of {backend}, for which Triton has no") as caught:
        packaging.write(engine, tmp_path, SERVING, images=IMAGES)
    assert any("--format bundle" in hint for hint in caught.value.hints)


def test_more_images_than_the_engine_takes_are_refused(
    onnxruntime_engine: Artifact, tmp_path: Path
) -> None:
    serving = dataclasses.replace(SERVING, max_batch=99)
    with pytest.raises(UsageError, match="takes batches of 1 to 4, not 99"):
        packaging.write(onnxruntime_engine, tmp_path, serving, images=IMAGES)
    assert not (tmp_path / "demo_int8").exists()


def test_an_engine_that_changed_since_its_build_is_not_packaged(
    onnxruntime_engine: Artifact, tmp_path: Path
) -> None:
    path = copied(onnxruntime_engine, tmp_path / "from")
    path.write_bytes(path.read_bytes() + b"\0")
    changed = dataclasses.replace(onnxruntime_engine, path=path)
    with pytest.raises(ArtifactError, match="is not the file that"):
        packaging.write(changed, tmp_path / "models", SERVING, images=IMAGES)
    assert not (tmp_path / "models").exists()


def test_a_served_file_that_answers_otherwise_is_not_written(
    onnxruntime_engine: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = triton._answers
    monkeypatch.setattr(
        triton,
        "_answers",
        lambda model, array: real(model, array) + (model.path.name == "model.onnx"),
    )
    with pytest.raises(RunError, match="answers otherwise than"):
        packaging.write(onnxruntime_engine, tmp_path, SERVING, images=IMAGES)
    assert not (tmp_path / "demo_int8").exists()


def test_an_engine_that_failed_parity_is_served_only_when_asked_for(
    onnxruntime_engine: Artifact, tmp_path: Path, file_verdict: Callable[..., None]
) -> None:
    engine = artifacts.read(copied(onnxruntime_engine, tmp_path / "from"))
    file_verdict(engine, passed=False)
    with pytest.raises(GateError, match="failed parity"):
        packaging.write(engine, tmp_path / "models", SERVING, images=IMAGES)
    written = packaging.write(engine, tmp_path / "models", SERVING, images=IMAGES, failed=True)
    assert any("failed parity" in note for note in written.notes)
    file_verdict(engine, passed=True)
    again = packaging.write(engine, tmp_path / "models", SERVING, images=IMAGES, overwrite=True)
    assert not any("parity" in note for note in again.notes)
