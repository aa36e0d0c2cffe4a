"""The building process on a recorded TensorRT: what is set, and how each refusal is answered."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tresnet_deploy.backends import _nvinfer_child as child
from tresnet_deploy.backends import _nvinfer_errors as errors
from tresnet_deploy.backends._nvinfer_request import Range, Reply, Request

from . import fake_builder
from .fake_builder import BuilderFlag, World

SURFACE = json.loads((Path(__file__).parent / "tensorrt11_surface.json").read_text())["classes"]
IMAGE = (3, 64, 64)


def ranges(low: int, opt: int, high: int) -> tuple[Range, ...]:
    return (Range(tensor="images", min=(low, *IMAGE), opt=(opt, *IMAGE), max=(high, *IMAGE)),)


@pytest.fixture
def request_(tmp_path: Path) -> Request:
    return Request(
        runtime="fake_tensorrt",
        graph="graph.onnx",
        engine=str(tmp_path / "engine"),
        profiles=(ranges(1, 2, 4),),
    )


def asked(request_: Request, **changed: Any) -> tuple[Reply, World]:
    world = World()
    return child.build(fake_builder.runtime(world), dataclasses.replace(request_, **changed)), world


def test_a_plain_build_is_detailed_strongly_typed_and_within_its_profile(
    request_: Request,
) -> None:
    reply, world = asked(request_)
    assert (reply.stage, reply.error, reply.layers) == ("done", None, "Layers:\nName: a")
    assert reply.warnings == ("slow",)
    assert Path(request_.engine).read_bytes() == b"plan"
    assert world.network is not None
    assert world.config is not None
    assert world.network.flags == 0
    assert world.config.profiling_verbosity.name == "DETAILED"
    (profile,) = world.config.profiles
    assert profile.shapes == {"images": ((1, *IMAGE), (2, *IMAGE), (4, *IMAGE))}
    assert world.config.limits == {}


def test_where_typing_is_weak_by_default_the_strong_kind_is_asked_for(request_: Request) -> None:
    world = World()
    child.build(fake_builder.runtime(world, weakly_typed=True), request_)
    assert world.network is not None
    assert world.network.flags == 1 << 1


def test_every_option_reaches_the_builder(request_: Request, tmp_path: Path) -> None:
    old, new = tmp_path / "old.cache", tmp_path / "new.cache"
    old.write_bytes(b"seen")
    reply, world = asked(
        request_,
        profiles=(ranges(1, 1, 1), ranges(2, 4, 8)),
        workspace_mib=512,
        optimization_level=5,
        tf32=True,
        weight_streaming=True,
        version_compatible=True,
        refit=True,
        hardware_compatible="ampere+",
        timing_cache=str(old),
        new_timing_cache=str(new),
    )
    assert reply.error is None
    assert world.config is not None
    assert list(world.config.limits.values()) == [512 * 2**20]
    assert world.config.builder_optimization_level == 5
    assert set(world.config.flags) == set(BuilderFlag)
    assert world.config.hardware_compatibility_level.name == "AMPERE_PLUS"
    assert len(world.config.profiles) == 2
    assert new.read_bytes() == b"seen+timed"


def test_fp32_is_computed_in_fp32_unless_tf32_is_asked_for(request_: Request) -> None:
    _, world = asked(request_)
    assert world.config is not None
    assert world.config.flags == []


def test_one_batch_size_makes_the_network_static(request_: Request) -> None:
    _, world = asked(request_, profiles=(ranges(4, 4, 4),))
    assert world.network is not None
    assert world.config is not None
    assert world.network.tensor.shape == (4, *IMAGE)
    assert world.config.profiles == []


@pytest.mark.parametrize(
    ("what", "stage", "error"),
    [
        ("start", "start", "the builder does not start"),
        ("parse", "parse", "the parser refuses the graph"),
        ("profile", "configure", "the profile images"),
        ("cache", "configure", "is no timing cache of this version and GPU"),
        ("mismatch", "configure", "is no timing cache of this version and GPU"),
        ("build", "build", "the builder returns no engine"),
    ],
)
def test_a_refusal_says_how_far_it_came(
    request_: Request, what: str, stage: str, error: str, tmp_path: Path
) -> None:
    world = World(refuses=frozenset({what}))
    cached = dataclasses.replace(
        request_, timing_cache=str(tmp_path / "a"), new_timing_cache=str(tmp_path / "b")
    )
    reply = child.build(fake_builder.runtime(world), cached)
    assert reply.stage == stage
    assert reply.error is not None
    assert error in reply.error
    assert not Path(request_.engine).exists()


def test_the_parsers_errors_name_the_node(request_: Request) -> None:
    world = World(refuses=frozenset({"parse"}))
    reply = child.build(fake_builder.runtime(world), request_)
    assert reply.words == ("odd (Strange): Plugin not found",)


def test_an_engine_that_cannot_be_written_is_told_with_its_number(request_: Request) -> None:
    reply, _ = asked(request_, engine="/no/such/folder/engine")
    assert reply.os_errno == 2
    assert reply.error == "No such file or directory"


def test_words_without_a_known_meaning_are_quoted_as_they_are() -> None:
    reply = Reply(
        stage="build",
        version="11.4.0",
        error="the builder returns no engine",
        words=("[a.cpp::b::12] Error Code 9: something   new", "x" * 1000, "y", "z"),
    )
    error = errors.refusal(reply, runtime="TensorRT", graph="a.onnx")
    assert error.message.startswith(
        "TensorRT 11.4.0 cannot build a.onnx: the builder returns no engine; its own words: "
        "something new / xxx"
    )
    assert error.message.endswith("... / y (and 1 more)")
    assert len(error.message) < 500
    assert error.hints == ("tresnet-deploy build-engine -v, for all it says",)


@pytest.mark.parametrize(
    "name",
    [
        "Builder",
        "IBuilderConfig",
        "INetworkDefinition",
        "IOptimizationProfile",
        "ITimingCache",
        "OnnxParser",
        "BuilderFlag",
        "HardwareCompatibilityLevel",
        "MemoryPoolType",
        "ProfilingVerbosity",
    ],
)
def test_the_recorded_builder_has_only_names_that_tensorrt_11_has(name: str) -> None:
    fake = getattr(fake_builder, name)
    real = SURFACE[name]
    known = {*real.get("methods", ()), *real.get("properties", ()), *real.get("members", ())}
    own = {"world", "limits", "profiles", "shapes", "tensor", "data"}  # what is recorded
    mine = {each for each in {*vars(fake), *getattr(fake, "__annotations__", {})} if each[0] != "_"}
    assert mine - own <= known | {"flags"}


def test_a_process_whose_parent_has_ended_builds_nothing(tmp_path: Path) -> None:
    assert child.main([str(tmp_path / "no such request.json"), "1"]) == 1
