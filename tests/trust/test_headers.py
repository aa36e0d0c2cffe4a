"""A plan's header is read where it is one, and named for what it is where it is none."""

from pathlib import Path

import pytest

from tresnet_deploy.trust import read_header
from tresnet_deploy.trust.headers import described_beginning, numbers

from .conftest import PLAN_BYTES, plan


def saved(folder: Path, data: bytes) -> Path:
    path = folder / "any.engine"
    path.write_bytes(data)
    return path


def test_an_rtx_plan_tells_its_version_size_and_targets(tmp_path: Path) -> None:
    header = read_header(saved(tmp_path, plan()))
    assert header is not None
    assert (header.runtime, header.version_text, header.size) == (
        "tensorrt-rtx",
        "1.7.1.116",
        PLAN_BYTES,
    )
    assert header.capabilities == ((8, 0), (8, 6), (8, 9))


def test_a_tensorrt_plan_tells_its_version_alone(tmp_path: Path) -> None:
    header = read_header(saved(tmp_path, plan(b"ftrt", version=(11, 4, 0, 12))))
    assert header is not None
    assert (header.runtime, header.version) == ("tensorrt", (11, 4, 0))
    assert header.size is None
    assert header.capabilities == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"vtrt", "ends after 4 bytes, in the middle of its header"),
        (b"PK\x03\x04" + bytes(100), r"begins with b'PK\x03\x04'"),
        (b"\x08\x0a" + bytes(100), "begins with"),
        ((20).to_bytes(4, "little") + bytes(20) + plan(b"ftrt"), "after 20 bytes of metadata"),
    ],
    ids=["empty", "cut", "zip", "onnx", "wrapped"],
)
def test_what_is_no_plan_is_described(tmp_path: Path, data: bytes, words: str) -> None:
    path = saved(tmp_path, data)
    assert read_header(path) is None
    assert words in described_beginning(path)


def test_versions_are_compared_as_numbers() -> None:
    assert numbers("2026.4.1-20000-abc") == (2026, 4, 1)
    assert numbers("2.13.0+cpu") == (2, 13, 0)
    assert numbers("unknown") == ()


def test_a_real_plan_has_the_header_that_is_read_here(tmp_path: Path) -> None:
    runtime = pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    import onnx
    from onnx import TensorProto, helper

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"]
    nodes = [helper.make_node("Relu", ["x"], ["y"])]
    graph = helper.make_graph(nodes, "relu", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    logger = runtime.Logger(runtime.Logger.ERROR)
    builder = runtime.Builder(logger)
    network = builder.create_network(0)
    assert runtime.OnnxParser(network, logger).parse(model.SerializeToString())
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(runtime.ComputeCapability.SM89, 0)
    built = bytes(builder.build_serialized_network(network, config))
    header = read_header(saved(tmp_path, built))
    assert header is not None
    assert header.runtime == "tensorrt-rtx"
    assert header.version == numbers(runtime.__version__)
    assert header.size == len(built)
    assert header.capabilities == ((8, 9),)
