"""A graph that asks for plugins: TensorRT gets them registered, TensorRT-RTX refuses."""

import dataclasses
import enum
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest
from tresnet_deploy.plugins import tensorrt_registration, wanted_by
from tresnet_deploy.plugins.kernels import nvrtc

from tresnet_deploy import graph_files, passes
from tresnet_deploy.backends import _nvinfer_child as child
from tresnet_deploy.backends import _nvinfer_plugins
from tresnet_deploy.backends._nvinfer_request import Range, Reply, Request
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.precision.half import to_half

from . import fake_builder
from .fake_builder import World


class Flags(enum.IntEnum):
    STRONGLY_TYPED = 1
    PREFER_AOT_PYTHON_PLUGINS = 3


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A recorded TensorRT that takes plugins, and notes whether they were registered."""
    world = World()
    module: Any = fake_builder.runtime(world)
    module.world = world
    module.NetworkDefinitionCreationFlag = Flags
    module.INetworkDefinition = type("Network", (), {"add_plugin_v3": None})
    module.registered = []

    def register(runtime: Any, *, capability: int | None = None) -> None:
        module.registered.append((runtime, capability))

    monkeypatch.setattr(tensorrt_registration, "register", register)
    monkeypatch.setattr(nvrtc, "find", lambda: None)
    return module


@pytest.fixture(scope="session")
def marked(demo_graph: Artifact) -> ir.Model:
    model = graph_files.load(demo_graph.path)
    passes.run(model, ("plugin-operators",))
    return model


def build(runtime: Any, folder: Path, *, plugins: int, **changed: Any) -> Reply:
    shape = (2, 3, 64, 64)
    plain = Request(
        runtime="fake_tensorrt",
        graph="graph.onnx",
        engine=str(folder / "engine"),
        profiles=((Range(tensor="images", min=shape, opt=shape, max=shape),),),
    )
    asked = dataclasses.replace(plain, **changed)
    return child.build(runtime, _nvinfer_plugins.asking(asked, plugins))


def test_plugins_are_registered_before_the_graph_is_parsed(runtime: Any, tmp_path: Path) -> None:
    reply = build(runtime, tmp_path, plugins=4)
    assert reply.error is None
    assert runtime.registered == [(runtime, None)]
    assert runtime.world.network.flags == 1 << Flags.PREFER_AOT_PYTHON_PLUGINS


def test_an_engine_for_all_gpus_from_ampere_on_carries_code_for_all(
    runtime: Any, tmp_path: Path
) -> None:
    assert build(runtime, tmp_path, plugins=4, hardware_compatible="ampere+").error is None
    assert runtime.registered == [(runtime, 80)]


def test_a_graph_that_asks_for_none_registers_none(runtime: Any, tmp_path: Path) -> None:
    assert build(runtime, tmp_path, plugins=0).error is None
    assert runtime.registered == []
    assert runtime.world.network.flags == 0


def test_a_build_without_a_gpu_to_compile_for_says_so(
    runtime: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_runtime: Any, *, capability: int | None) -> None:
        raise UnavailableError("the NVIDIA driver is not here")

    monkeypatch.setattr(tensorrt_registration, "register", refuse)
    reply = build(runtime, tmp_path, plugins=4)
    assert (reply.stage, reply.error) == (
        "parse",
        "the plugins cannot be registered: the NVIDIA driver is not here",
    )


def test_a_marked_graph_is_counted_in_any_float_type(runtime: Any, marked: ir.Model) -> None:
    assert _nvinfer_plugins.asked_for(runtime, marked) == 4
    half = ir.from_proto(ir.to_proto(marked))
    to_half(half, ir.DataType.FLOAT16)
    assert wanted_by(half) == wanted_by(marked)


def test_a_build_may_ask_for_plugins_that_the_export_did_not(
    runtime: Any, demo_graph: Artifact
) -> None:
    model = graph_files.load(demo_graph.path)
    assert _nvinfer_plugins.asked_for(runtime, model) == 0
    assert _nvinfer_plugins.asked_for(runtime, model, "plugin") == 4
    inlined = graph_files.load(demo_graph.path)
    passes.run(inlined, ("inline-operators",))
    with pytest.raises(UsageError, match="none of our operators in this graph"):
        _nvinfer_plugins.asked_for(runtime, inlined, "plugin")


def test_what_compiles_the_kernels_must_be_there(
    runtime: Any, marked: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise UnavailableError("NVRTC is not installed")

    monkeypatch.setattr(nvrtc, "find", missing)
    with pytest.raises(UnavailableError, match="NVRTC"):
        _nvinfer_plugins.asked_for(runtime, marked)


def test_an_engine_says_how_many_nodes_asked(demo_graph: Artifact) -> None:
    assert _nvinfer_plugins.recorded(demo_graph, 0) is demo_graph
    assert _nvinfer_plugins.recorded(demo_graph, 4).settings["build.plugins"] == 4


@pytest.mark.parametrize(("embeds", "registered"), [(True, 0), (False, 1)])
def test_only_engines_without_embedded_kernels_need_plugins_to_load(
    runtime: Any, *, embeds: bool, registered: int
) -> None:
    if embeds:
        runtime.QuickPluginCreationRequest = None
    _nvinfer_plugins.register_for_engine(runtime, {"build.plugins": 4})
    assert len(runtime.registered) == registered
    _nvinfer_plugins.register_for_engine(runtime, {})
    assert len(runtime.registered) == registered


def test_tensorrt_rtx_refuses_to_be_asked_for_plugins() -> None:
    rtx = pytest.importorskip(
        "tresnet_deploy.backends.tensorrt_rtx",
        reason="tensorrt-rtx is not installed",
        exc_type=ImportError,
    )
    with pytest.raises(ValueError, match="operators=plugin is for TensorRT"):
        rtx.Options(operators="plugin")


def test_tensorrt_rtx_refuses_a_marked_graph_and_names_two_ways_out(
    demo_graph: Artifact, marked: ir.Model, tmp_path: Path
) -> None:
    rtx = pytest.importorskip(
        "tresnet_deploy.backends.tensorrt_rtx",
        reason="tensorrt-rtx is not installed",
        exc_type=ImportError,
    )
    path = tmp_path / "marked.onnx"
    graph_files.save(marked, path)
    with pytest.raises(UsageError, match="takes no plugins") as caught:
        rtx.layers_of(path, batch=Batch())
    assert caught.value.hints == (
        "tresnet-deploy export --operators function",
        "tresnet-deploy build-engine --backend tensorrt",
    )
