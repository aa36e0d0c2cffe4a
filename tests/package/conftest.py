"""The demo network as engines of two backends, each beside its graph and calibration table."""

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

from tresnet_deploy import build
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.images import demo_images

BATCH = Batch(min=1, opt=2, max=4)


@pytest.fixture(scope="session")
def openvino_engine(demo_int8: Artifact) -> Artifact:
    """Return an INT8 engine of the demo network for 1 to 4 images."""
    return build.build(
        demo_int8,
        demo_int8.path.with_name("demo.int8.openvino.xml"),
        backend="openvino",
        batch=BATCH,
        images=demo_images("calibration"),
    )


@pytest.fixture(scope="session")
def onnxruntime_engine(demo_int8: Artifact) -> Artifact:
    """Return the same for ONNX Runtime, with two threads."""
    module = build.backend_for("onnxruntime", "int8")
    return build.build(
        demo_int8,
        demo_int8.path.with_name("demo.int8.onnxruntime.onnx"),
        backend="onnxruntime",
        batch=BATCH,
        options=module.Options(threads=2),
        images=demo_images("calibration"),
    )


@pytest.fixture(scope="session")
def triton_schema() -> ModuleType:
    """Return the message types that Triton publishes for config.pbtxt.

    The package that holds them imports gRPC, which pins an older protobuf than onnx brings, so its
    generated file is loaded alone.
    """
    found = importlib.util.find_spec("tritonclient")
    if found is None or not found.submodule_search_locations:
        pytest.skip("tritonclient, which holds Triton's protobuf schema, is not installed")
    path = Path(found.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copied(artifact: Artifact, folder: Path) -> Path:
    """Copy an engine with everything that lies around it, and return its place."""
    shutil.copytree(artifact.path.parent, folder, dirs_exist_ok=True)
    return folder / artifact.path.name
