"""The session over NVIDIA's runtimes, against recording fakes of them and of CUDA."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tresnet_deploy.backends._nvinfer_session import NvinferSession, open_session
from tresnet_deploy.contracts import Array, Batch, TensorSpec, run
from tresnet_deploy.errors import DeployError, RunError, UsageError
from tresnet_deploy.timing import DeviceSession

from .fake_nvinfer import (
    MIB,
    DataType,
    FakeCuda,
    Plan,
    TensorFormat,
    TensorLocation,
    World,
    expected,
    make_runtime,
)


@dataclasses.dataclass(frozen=True)
class RunOptions:
    cuda_graph: bool = False
    runtime_cache: str = ""
    weight_streaming: bool = False
    weight_streaming_mib: int = 0


@dataclasses.dataclass
class Bench:
    """A session and the world it lives in."""

    world: World
    cuda: FakeCuda
    session: NvinferSession

    def calls(self, *wanted: str) -> list[str]:
        """Return the calls that start with one of ``wanted``, in order."""
        return [call for call in self.world.calls if call.startswith(wanted)]


Open = Callable[..., Bench]


@pytest.fixture
def opened() -> Open:
    def make(plan: Plan | None = None, kind: str = "tensorrt", **options: object) -> Bench:
        batch = options.pop("batch", Batch(min=1, opt=4, max=8))
        world = World(plan=plan or Plan())
        cuda = FakeCuda(world)
        session = open_session(
            make_runtime(world, kind),
            b"plan",
            RunOptions(**options),  # type: ignore[arg-type]
            batch,  # type: ignore[arg-type]
            cuda=cuda,
        )
        return Bench(world, cuda, session)

    return make


def images(batch: int = 2, side: int = 4) -> Array:
    shape = (batch, 3, side, side)
    return np.random.default_rng(batch).random(shape, np.float32)


def test_the_specs_are_those_of_the_engine(opened: Open) -> None:
    session = opened().session
    assert session.inputs == (TensorSpec(name="images", dtype="float32", shape=("batch", 3, 4, 4)),)
    assert session.outputs == (TensorSpec(name="logits", dtype="float32", shape=("batch", 5)),)


def test_it_is_a_device_session(opened: Open) -> None:
    assert isinstance(opened().session, DeviceSession)


@pytest.mark.parametrize("kind", ["tensorrt", "tensorrt_rtx"])
@pytest.mark.parametrize("cuda_graph", [False, True])
def test_every_batch_gets_its_own_answers(opened: Open, kind: str, *, cuda_graph: bool) -> None:
    session = opened(kind=kind, cuda_graph=cuda_graph).session
    for batch in (2, 8, 1, 2):
        fed = images(batch)
        np.testing.assert_allclose(run(session, {"images": fed})["logits"], expected(fed))


def test_a_step_is_one_enqueue_between_two_events_and_a_wait(opened: Open) -> None:
    bench = opened()
    bench.session.bind({"images": images()})
    bench.world.clear()
    bench.session.step()
    assert bench.world.calls == ["record", "execute_async_v3", "record", "synchronize"]
    assert bench.session.device_ms() == pytest.approx(1.5)


def test_bind_copies_once_and_a_step_copies_nothing(opened: Open) -> None:
    bench = opened()
    fed = images()
    bench.session.bind({"images": fed})
    fed[:] = 0
    bench.session.step()
    bench.session.step()
    assert bench.calls("H2D", "D2H") == ["H2D"]
    np.testing.assert_allclose(bench.session.fetch()["logits"], expected(images()))


def test_a_step_with_transfers_copies_in_and_out_within_the_events(opened: Open) -> None:
    bench = opened()
    bench.session.bind({"images": images()})
    bench.world.clear()
    bench.session.step_with_transfers()
    order = ["record", "H2D", "execute_async_v3", "D2H", "record", "synchronize"]
    assert bench.world.calls == order


def test_shapes_and_addresses_are_set_in_the_order_the_runtime_wants(opened: Open) -> None:
    bench = opened()
    bench.session.bind({"images": images()})
    assert bench.calls("set_", "infer") == [
        "set_input_shape images (2, 3, 4, 4)",
        "infer_shapes",
        "set_tensor_address images",
        "set_tensor_address logits",
    ]


def test_binding_the_same_shape_again_only_copies(opened: Open) -> None:
    bench = opened()
    bench.session.bind({"images": images()})
    bench.world.clear()
    bench.session.bind({"images": images()})
    assert bench.world.calls == ["H2D", "synchronize"]


def test_a_smaller_batch_keeps_the_device_memory_of_a_larger_one(opened: Open) -> None:
    bench = opened()
    bench.session.bind({"images": images(8)})
    bench.session.bind({"images": images(1)})
    assert len(bench.calls("allocate")) == 2
    bench.session.bind({"images": images(8)})
    assert len(bench.calls("allocate")) == 2


def test_a_larger_batch_gives_the_smaller_memory_back(opened: Open) -> None:
    bench = opened()
    bench.session.bind({"images": images(1)})
    bench.session.bind({"images": images(8)})
    assert len(bench.world.memory) == 2
    assert len(bench.world.host) == 2


def test_a_batch_is_run_in_the_profile_that_contains_it(opened: Open) -> None:
    bench = opened(Plan(profiles=((1, 1, 1), (2, 8, 16))), batch=Batch(min=1, opt=8, max=16))
    for batch in (1, 8, 16, 1):
        bench.session.bind({"images": images(batch)})
    switches = bench.calls("set_optimization_profile_async")
    assert [call.split()[1] for call in switches] == ["1", "0"]


def test_of_several_profiles_the_one_tuned_nearest_is_taken(opened: Open) -> None:
    bench = opened(Plan(profiles=((1, 2, 16), (1, 12, 16))), batch=Batch(min=1, opt=8, max=16))
    bench.session.bind({"images": images(10)})
    assert bench.calls("set_optimization") == ["set_optimization_profile_async 1"]


def test_the_stream_is_waited_for_after_a_profile_switch(opened: Open) -> None:
    bench = opened(Plan(profiles=((1, 1, 1), (2, 8, 16))), batch=None)
    bench.session.bind({"images": images(4)})
    calls = bench.world.calls
    at = calls.index("set_optimization_profile_async 1")
    assert calls[at + 1 : at + 3] == ["synchronize", "set_input_shape images (4, 3, 4, 4)"]


def test_a_batch_in_no_profile_is_one_clear_error(opened: Open) -> None:
    bench = opened(Plan(profiles=((1, 1, 1), (4, 8, 16))), batch=None)
    with pytest.raises(UsageError) as caught:
        bench.session.bind({"images": images(2)})
    assert caught.value.message == (
        "no optimisation profile of the engine contains images 2 x 3 x 4 x 4; there are: "
        "1 x 3 x 4 x 4 to 1 x 3 x 4 x 4; 4 x 3 x 4 x 4 to 16 x 3 x 4 x 4"
    )
    assert bench.calls("set_") == []


def test_a_batch_outside_the_sidecars_range_is_told_how_to_build(opened: Open) -> None:
    with pytest.raises(UsageError, match="built for batches of 1 to 8, not 9") as caught:
        opened().session.bind({"images": images(9)})
    assert caught.value.hints == ("build it again with --batch 1:4:9",)


def test_an_engine_of_fixed_shape_needs_no_profile(opened: Open) -> None:
    bench = opened(Plan(static=2, profiles=()), batch=Batch(min=2, opt=2, max=2))
    fed = images(2)
    np.testing.assert_allclose(run(bench.session, {"images": fed})["logits"], expected(fed))
    with pytest.raises(UsageError, match="takes 2 x 3 x 4 x 4, not 1 x 3"):
        bench.session.bind({"images": images(1)})


def test_bytes_are_bound_as_bytes(opened: Open) -> None:
    bench = opened(Plan(dtype=DataType.UINT8))
    fed = np.arange(96, dtype=np.uint8).reshape(2, 3, 4, 4)
    np.testing.assert_allclose(run(bench.session, {"images": fed})["logits"], expected(fed))


def test_the_first_step_captures_a_graph_and_later_ones_launch_it(opened: Open) -> None:
    bench = opened(cuda_graph=True)
    bench.session.bind({"images": images()})
    bench.world.clear()
    bench.session.step()
    bench.session.step()
    assert bench.calls("execute", "begin", "end", "launch", "sync") == [
        "execute_async_v3",
        "synchronize",
        "begin capture",
        "execute_async_v3 captured",
        "end capture",
        "launch",
        "synchronize",
        "launch",
        "synchronize",
    ]
    assert bench.world.runs == 3


def test_a_graph_lives_as_long_as_its_shape(opened: Open) -> None:
    bench = opened(cuda_graph=True)
    for batch, captures in ((2, 1), (2, 1), (4, 2), (2, 3)):
        bench.session.bind({"images": images(batch)})
        bench.session.step()
        assert len(bench.calls("begin capture")) == captures
    assert len(bench.calls("destroy graph")) == 2
    bench.session.close()
    assert len(bench.calls("destroy graph")) == 3


def test_tensorrt_rtx_captures_by_itself(opened: Open) -> None:
    bench = opened(kind="tensorrt_rtx", cuda_graph=True)
    bench.session.bind({"images": images()})
    bench.session.step()
    assert "with WHOLE_GRAPH_CAPTURE EAGER" in bench.world.calls
    assert bench.calls("begin capture") == []


def test_a_capture_that_fails_is_ended_and_says_what_to_leave_out(opened: Open) -> None:
    bench = opened(Plan(refuses=frozenset({"capture"})), cuda_graph=True)
    bench.session.bind({"images": images()})
    with pytest.raises(RunError, match="cannot be captured as a CUDA graph") as caught:
        bench.session.step()
    assert caught.value.hints == ("leave --option cuda_graph=true out",)
    assert bench.calls("begin", "end", "destroy graph") == [
        "begin capture",
        "end capture",
        "destroy graph",
    ]


def test_a_runtime_cache_is_loaded_and_saved_when_it_has_grown(
    opened: Open, tmp_path: Path
) -> None:
    path = tmp_path / "kernels"
    first = opened(kind="tensorrt_rtx", runtime_cache=str(path))
    assert first.calls("cache.deserialize") == []
    first.session.close()
    assert path.read_bytes() == b"kernels"
    written = path.stat().st_mtime_ns
    second = opened(kind="tensorrt_rtx", runtime_cache=str(path))
    assert second.calls("cache", "config") == [
        "cache.deserialize b'kernels'",
        "config.set_runtime_cache",
    ]
    second.session.close()
    assert path.stat().st_mtime_ns == written


def test_a_runtime_cache_of_another_gpu_is_made_anew_with_a_warning(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "kernels"
    path.write_bytes(b"of another GPU")
    plan = Plan(refuses=frozenset({"deserialize"}))
    bench = opened(plan, kind="tensorrt_rtx", runtime_cache=str(path))
    assert "is of no use here and is made anew: Error Code 3: deserialize" in caplog.text
    assert "cache.reset" in bench.world.calls
    bench.session.close()
    assert path.read_bytes() == b"kernels"


def test_a_runtime_cache_that_cannot_be_written_costs_no_answer(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "kernels"
    bench = opened(kind="tensorrt_rtx", runtime_cache=str(path))
    bench.session.close()
    assert "could not be written" in caplog.text
    assert bench.world.memory == {}


def test_a_runtime_cache_that_cannot_be_read_is_made_anew_with_a_warning(
    opened: Open, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bench = opened(kind="tensorrt_rtx", runtime_cache=str(tmp_path))
    assert "could not be read" in caplog.text
    bench.session.close()
    assert "could not be written" in caplog.text


def test_a_runtime_without_a_runtime_cache_refuses_one(opened: Open) -> None:
    with pytest.raises(UsageError, match=r"runtime_cache is for TensorRT-RTX; TensorRT 11\.4\.0"):
        opened(runtime_cache="kernels")


def test_weights_stream_within_the_budget_that_the_runtime_proposes(opened: Open) -> None:
    bench = opened(Plan(streamable=64 * MIB), weight_streaming=True)
    calls = bench.calls("weight", "create")
    assert calls[0] == "weight_streaming_budget_v2 = 32 MiB"
    assert calls[-1] == "create_execution_context"


@pytest.mark.parametrize(("asked", "given"), [(8, 8), (999, 64)])
def test_a_streaming_budget_can_be_asked_for_and_never_exceeds_the_weights(
    opened: Open, asked: int, given: int
) -> None:
    plan = Plan(streamable=64 * MIB)
    bench = opened(plan, weight_streaming=True, weight_streaming_mib=asked)
    assert bench.calls("weight") == [f"weight_streaming_budget_v2 = {given} MiB"]


def test_a_runtime_before_configurations_is_given_none(opened: Open) -> None:
    bench = opened(Plan(has_config=False))
    fed = images()
    np.testing.assert_allclose(run(bench.session, {"images": fed})["logits"], expected(fed))
    assert bench.calls("create") == ["create_execution_context"]


def test_a_streaming_budget_that_does_not_stick_is_an_error(opened: Open) -> None:
    with pytest.raises(RunError, match="keeps 64 MiB of weights on the GPU, not the 32 MiB"):
        opened(Plan(streamable=64 * MIB, budget_sticks=False), weight_streaming=True)
    with pytest.raises(UsageError, match="built without weight streaming"):
        opened(weight_streaming=True)


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        ("Runtime", "TensorRT-RTX 1.7.1 does not start"),
        ("deserialize_cuda_engine", "TensorRT-RTX 1.7.1 cannot load the engine"),
        ("create_runtime_config", "failed at create_runtime_config()"),
        ("create_execution_context", "failed at create_execution_context()"),
        ("create_runtime_cache", "failed at create_runtime_cache()"),
        ("set_runtime_cache", "failed at set_runtime_cache()"),
    ],
)
def test_a_refusal_to_load_quotes_the_runtimes_own_reason(
    opened: Open, tmp_path: Path, refused: str, message: str
) -> None:
    plan = Plan(refuses=frozenset({refused}))
    with pytest.raises(RunError) as caught:
        opened(plan, kind="tensorrt_rtx", runtime_cache=str(tmp_path / "kernels"))
    assert message in caught.value.message
    assert f"Error Code 3: {refused} is not possible" in caught.value.message
    assert "hot" not in caught.value.message


def test_a_plan_that_is_refused_names_the_rebuild(opened: Open) -> None:
    with pytest.raises(RunError) as caught:
        opened(Plan(refuses=frozenset({"deserialize_cuda_engine"})), kind="tensorrt_rtx")
    assert caught.value.hints == ("tresnet-deploy build-engine --backend tensorrt-rtx --overwrite",)


@pytest.mark.parametrize(
    "refused", ["set_input_shape", "set_tensor_address", "set_optimization_profile_async"]
)
def test_a_bind_that_is_refused_leaves_nothing_bound(opened: Open, refused: str) -> None:
    plan = Plan(profiles=((1, 1, 1), (2, 4, 8)), refuses=frozenset({refused}))
    session = opened(plan).session
    with pytest.raises(RunError, match=f"Error Code 3: {refused} is not possible"):
        session.bind({"images": images(2)})
    with pytest.raises(RunError, match=r"bind\(\) was not called"):
        session.step()


def test_a_step_that_is_refused_quotes_the_reason_and_has_no_result(opened: Open) -> None:
    bench = opened(Plan(refuses=frozenset({"execute_async_v3"})))
    bench.session.bind({"images": images()})
    with pytest.raises(RunError, match=r"failed at execute_async_v3\(\): Error Code 3"):
        bench.session.step()
    with pytest.raises(RunError):
        bench.session.fetch()


def test_only_what_was_said_since_the_call_is_quoted(opened: Open) -> None:
    bench = opened()
    bench.session.bind({"images": images()})
    bench.world.plan = dataclasses.replace(Plan(), refuses=frozenset({"set_input_shape"}))
    with pytest.raises(RunError):
        bench.session.bind({"images": images(1)})
    bench.world.plan = dataclasses.replace(Plan(), refuses=frozenset({"execute_async_v3"}))
    bench.session.bind({"images": images(1)})
    with pytest.raises(RunError) as caught:
        bench.session.step()
    assert "set_input_shape" not in caught.value.message


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        (Plan(dtype=DataType.BF16), "the tensor images of the engine is BF16 in LINEAR order"),
        (Plan(layout=TensorFormat.CHW32), "is FLOAT in CHW32 order"),
        (Plan(location=TensorLocation.HOST), "wants the tensor images in host memory"),
    ],
)
def test_tensors_that_numpy_cannot_hold_are_refused(opened: Open, plan: Plan, message: str) -> None:
    with pytest.raises(RunError, match=message):
        opened(plan)


def test_shapes_that_stay_unknown_are_an_error(opened: Open) -> None:
    with pytest.raises(RunError, match="wants more to know its shapes: mask"):
        opened(Plan(missing=("mask",))).session.bind({"images": images()})
    with pytest.raises(RunError, match="the size of logits depends on values"):
        opened(Plan(refuses=frozenset({"get_tensor_shape"}))).session.bind({"images": images()})


def test_close_gives_everything_back_once(opened: Open) -> None:
    bench = opened(cuda_graph=True)
    run(bench.session, {"images": images()})
    bench.session.close()
    assert (bench.world.memory, bench.world.host) == ({}, {})
    assert bench.calls("destroy")[0] == "destroy graph"
    assert bench.calls("destroy")[-1] == "destroy stream"
    assert len(bench.calls("destroy event")) == 2
    bench.world.clear()
    bench.session.close()
    assert bench.world.calls == []
    for act in (bench.session.step, bench.session.fetch, bench.session.device_ms):
        with pytest.raises(RunError):
            act()


def test_close_gives_back_the_rest_when_one_call_fails(
    opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    bench = opened()
    bench.session.bind({"images": images()})
    bench.cuda.fails_at = "destroy event"
    bench.session.close()
    assert "while a session was closed: CUDA failed: destroy event" in caplog.text
    assert bench.world.memory == {}
    assert bench.world.calls[-1] == "destroy stream"


def test_what_failed_first_is_what_is_raised_though_closing_fails_too(opened: Open) -> None:
    bench = opened(Plan(refuses=frozenset({"execute_async_v3"})))
    bench.session.bind({"images": images()})
    bench.cuda.fails_at = "free"
    with (
        pytest.raises(RunError, match=r"failed at execute_async_v3\(\)"),
        contextlib.closing(bench.session),
    ):
        bench.session.step()


def test_memory_that_runs_out_while_binding_is_given_back_by_close(opened: Open) -> None:
    bench = opened()
    bench.cuda.fails_at = "pinned"
    with pytest.raises(DeployError):
        bench.session.bind({"images": images()})
    bench.cuda.fails_at = ""
    bench.session.close()
    assert (bench.world.memory, bench.world.host) == ({}, {})


def test_the_session_says_what_device_memory_it_took(opened: Open) -> None:
    bench = opened()
    bench.session.bind({"images": images()})
    assert bench.session.memory_mib() == 2.0
