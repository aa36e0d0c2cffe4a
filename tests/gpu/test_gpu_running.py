"""CUDA graphs, profiles, memory, the runtime cache and weight streaming, on a real GPU."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tresnet_deploy import scoring
from tresnet_deploy.backends._cuda import open_cuda
from tresnet_deploy.contracts import Array, Artifact, Batch, run
from tresnet_deploy.errors import DeployError, UsageError
from tresnet_deploy.timing import DeviceSession

from .conftest import Engine, opened, scores

pytestmark = pytest.mark.gpu
Record = Callable[[str, object], None]
LEAK_MIB = 64  # what drivers and runtimes keep for themselves after a first use


def with_graph(artifact: Artifact) -> Artifact:
    settings = {**artifact.settings, f"{artifact.backend}.cuda_graph": True}
    return dataclasses.replace(artifact, settings=settings)


def test_a_cuda_graph_gives_the_same_scores_after_every_change_of_batch(
    backend: str, engine: Engine, images: Array
) -> None:
    artifact = engine(backend)
    name = artifact.inputs[0].name
    with opened(artifact) as plain, opened(with_graph(artifact)) as graph:
        for size in (4, 4, 1, 16, 4):
            fed = {name: images[:size]}
            np.testing.assert_array_equal(run(graph, fed)["logits"], run(plain, fed)["logits"])


def test_a_cuda_graph_reads_what_is_bound_anew(backend: str, engine: Engine, images: Array) -> None:
    artifact = with_graph(engine(backend))
    name = artifact.inputs[0].name
    with opened(artifact) as session:
        first = run(session, {name: images[:4]})["logits"]
        second = run(session, {name: images[4:8]})["logits"]
        again = run(session, {name: images[:4]})["logits"]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)


def test_several_profiles_serve_every_batch_they_contain(
    backend: str, engine: Engine, images: Array
) -> None:
    batch = Batch(min=1, opt=8, max=16)
    artifact = engine(backend, "fp32", batch=batch, profiles="1:1:1,2:8:16")
    expected = scores(engine(backend, "fp32"), images)
    for size in (1, 2, 8, 16, 1):
        found = scores(artifact, images[:size])
        np.testing.assert_allclose(found, expected[:size], atol=2e-2)
    with opened(artifact) as session, pytest.raises(UsageError, match="batches of 1 to 16, not 17"):
        session.bind({artifact.inputs[0].name: np.repeat(images[:1], 17, axis=0)})


def test_an_engine_of_one_batch_runs_it_and_no_other(
    backend: str, engine: Engine, images: Array
) -> None:
    artifact = engine(backend, "fp32", batch=Batch(min=2, opt=2, max=2))
    assert scores(artifact, images[:2]).shape == (2, 10)
    with opened(artifact) as session, pytest.raises(UsageError):
        session.bind({artifact.inputs[0].name: images[:1]})


def test_the_device_takes_no_longer_than_the_clock_says(
    backend: str, engine: Engine, images: Array, record_property: Record
) -> None:
    artifact = engine(backend)
    with opened(artifact) as session:
        assert isinstance(session, DeviceSession)
        run(session, {artifact.inputs[0].name: images})
        pairs = []
        for _ in range(50):
            begin = time.perf_counter()
            session.step()
            pairs.append(((time.perf_counter() - begin) * 1000, session.device_ms()))
        wall, device = np.median(pairs, axis=0)
        begin = time.perf_counter()
        session.step_with_transfers()
        copied = (time.perf_counter() - begin) * 1000
        record_property("MiB", f"{session.memory_mib():.0f}")
    record_property("wall ms", f"{wall:.3f}")
    record_property("device ms", f"{device:.3f}")
    record_property("with copies ms", f"{copied:.3f}")
    assert 0 < device <= wall


def test_steps_with_copies_give_the_same_scores(
    backend: str, engine: Engine, images: Array
) -> None:
    artifact = engine(backend)
    with opened(artifact) as session:
        assert isinstance(session, DeviceSession)
        plain = run(session, {artifact.inputs[0].name: images})["logits"]
        session.step_with_transfers()
        np.testing.assert_array_equal(session.fetch()["logits"], plain)


def test_opening_and_closing_gives_the_memory_back(
    backend: str, engine: Engine, images: Array, record_property: Record
) -> None:
    artifact = engine(backend)
    scores(artifact, images)  # what stays after a first use stays
    cuda = open_cuda()
    before = cuda.free_mib()
    for _ in range(10):
        scores(artifact, images)
    lost = before - cuda.free_mib()
    record_property("MiB lost", f"{lost:.0f}")
    assert lost < LEAK_MIB


def test_two_engines_run_side_by_side(backend: str, engine: Engine, images: Array) -> None:
    first, second = engine(backend, "fp32"), engine(backend, "fp16")
    name = first.inputs[0].name
    alone = scores(first, images)
    with opened(first) as one, opened(second) as other:
        one.bind({name: images})
        other.bind({name: images})
        for _ in range(3):
            one.step()
            other.step()
        np.testing.assert_array_equal(one.fetch()["logits"], alone)


def test_a_runtime_cache_is_written_and_shortens_the_next_start(
    backend: str, engine: Engine, images: Array, tmp_path: Path, record_property: Record
) -> None:
    if backend != "tensorrt-rtx":
        pytest.skip("not for this GPU: TensorRT compiles when it builds and keeps no runtime cache")
    cache = tmp_path / "kernels"
    artifact = engine(backend)
    settings = {**artifact.settings, f"{backend}.runtime_cache": str(cache)}
    artifact = dataclasses.replace(artifact, settings=settings)
    times = []
    for _ in range(2):
        begin = time.perf_counter()
        scores(artifact, images)
        times.append(time.perf_counter() - begin)
    record_property("first start s", f"{times[0]:.2f}")
    record_property("second start s", f"{times[1]:.2f}")
    assert cache.stat().st_size > 0


def test_streamed_weights_give_the_same_scores(backend: str, engine: Engine, images: Array) -> None:
    artifact = engine(backend, "fp32", weight_streaming=True)
    np.testing.assert_allclose(
        scores(artifact, images), scores(engine(backend, "fp32"), images), atol=2e-2
    )


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_damaged_plan_is_an_error_and_no_crash(
    backend: str, engine: Engine, tmp_path: Path, share: float
) -> None:
    artifact = engine(backend)
    whole = artifact.path.read_bytes()
    path = tmp_path / artifact.path.name
    path.write_bytes(whole[: int(len(whole) * share)] + b"\0" * 64)
    with pytest.raises(DeployError) as caught:
        scoring.load(dataclasses.replace(artifact, path=path, sha256=""))
    assert caught.value.message
