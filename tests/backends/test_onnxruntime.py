"""ONNX Runtime's own promises: integer kernels for INT8, any tensor on request, no quiet CPU."""

import dataclasses
from contextlib import closing
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from tresnet_deploy import build, graph_files
from tresnet_deploy.backends import onnxruntime as backend
from tresnet_deploy.contracts import Artifact, Batch, run
from tresnet_deploy.errors import RunError, UnavailableError
from tresnet_deploy.images import demo_images

from .conftest import Images

BLURS = 3  # of a TResNet
GATES = 3 + 4 + 11  # blocks with squeeze-and-excite in the network in the box


@pytest.fixture(scope="module")
def int8_engine(demo_int8: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return an INT8 engine."""
    return build.build(
        demo_int8,
        tmp_path_factory.mktemp("onnxruntime_int8") / "tresnet.int8.onnxruntime.onnx",
        backend="onnxruntime",
        images=demo_images("calibration"),
    )


def kernels(path: Path, folder: Path) -> list[str]:
    """Return the operators that ONNX Runtime makes of the graph in ``path``."""
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath = str(folder / "optimised.onnx")
    settings.log_severity_level = 3
    onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]


@pytest.mark.parametrize("overflow_safe", [False, True])
def test_all_quantised_convolutions_but_an_unsafe_stem_run_in_integer_kernels(
    demo_int8: Artifact, overflow_safe: bool, tmp_path: Path
) -> None:
    options = backend.Options(overflow_safe=overflow_safe)
    made = backend.build(demo_int8, tmp_path / "engine.onnx", batch=Batch(), options=options)
    layers = demo_int8.settings["int8_layers"]
    found = kernels(made.path, tmp_path)
    integer = found.count("QLinearConv") + found.count("MatMulIntegerToFloat")
    assert integer == layers + BLURS - overflow_safe
    # What is left feeds gates, and the additions after the stem; its float weights count as one.
    assert found.count("DequantizeLinear") == GATES + 1 + overflow_safe


def test_the_integers_of_an_int8_engine_are_unsigned(int8_engine: Artifact) -> None:
    graph = graph_files.load(int8_engine.path).graph
    zero_points = [
        np.asarray(value.const_value.numpy())
        for node in graph
        if node.op_type == "QuantizeLinear"
        and (value := node.inputs[2]) is not None
        and value.const_value is not None
    ]
    assert {str(zero_point.dtype) for zero_point in zero_points} == {"uint8"}


def test_an_engine_tells_by_itself_how_images_are_prepared(
    int8_engine: Artifact, tmp_path: Path
) -> None:
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(int8_engine.path.read_bytes())
    found = graph_files.artifact_of(alone)
    assert (found.kind, found.backend) == ("engine", "onnxruntime")
    assert found.preprocess == int8_engine.preprocess


def test_any_tensor_of_a_graph_can_be_fetched(demo_graph: Artifact, images: Images) -> None:
    model = graph_files.load(demo_graph.path)
    name = next(node.outputs[0].name for node in model.graph if node.op_type == "Conv")
    assert name is not None
    with closing(backend.session_of(model, extra_outputs=(name, name, "logits"))) as session:
        found = run(session, {"images": images})
    assert set(found) == {"logits", name}
    assert [value.name for value in model.graph.outputs] == ["logits"]


def test_a_tensor_that_the_graph_does_not_have_is_an_error(demo_graph: Artifact) -> None:
    model = graph_files.load(demo_graph.path)
    with pytest.raises(RunError, match="no_such_tensor"):
        backend.session_of(model, extra_outputs=("no_such_tensor",))


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_a_gpu_provider_without_a_gpu_is_an_error_and_no_quiet_fall_back_to_the_cpu(
    demo_graph: Artifact, provider: str
) -> None:
    options = backend.Options(provider=provider)  # type: ignore[arg-type]
    if backend.PROVIDERS[options.provider] in onnxruntime.get_available_providers():
        pytest.skip("this machine may have a GPU")
    with pytest.raises(UnavailableError, match="no usable") as caught:
        backend.session_of(graph_files.load(demo_graph.path), options=options)
    assert "tresnet-deploy[cuda]" in caught.value.hints[0]


@pytest.mark.gpu
@pytest.mark.skipif(
    "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
    reason="needs onnxruntime-gpu and an NVIDIA GPU",
)
def test_on_a_gpu_the_graph_computes_what_it_does_on_the_cpu(
    demo_graph: Artifact, images: Images
) -> None:
    model = graph_files.load(demo_graph.path)
    found = []
    for options in (backend.Options(), backend.Options(provider="cuda")):
        with closing(backend.session_of(model, options=options)) as session:
            found.append(run(session, {"images": images})["logits"])
    np.testing.assert_allclose(*found, atol=1e-3)


def test_an_engine_for_a_gpu_keeps_the_signed_grid(demo_int8: Artifact, tmp_path: Path) -> None:
    path = tmp_path / "gpu.onnx"
    options = backend.Options(provider="tensorrt")
    made = backend.build(demo_int8, path, batch=Batch(), options=options)
    assert made.device == "tensorrt"
    types = {i.data_type for i in onnx.load(path).graph.initializer if not i.dims}
    assert onnx.TensorProto.UINT8 not in types


def test_a_graph_that_onnx_runtime_cannot_run_names_the_file(
    demo_graph: Artifact, tmp_path: Path
) -> None:
    path = tmp_path / "odd.onnx"
    proto = onnx.load(demo_graph.path)
    proto.graph.node[0].op_type = "NoSuchOperator"
    proto.graph.node[0].domain = ""
    onnx.save(proto, path)
    with pytest.raises(RunError, match=r"cannot load odd\.onnx"):
        backend.load(dataclasses.replace(demo_graph, path=path))
