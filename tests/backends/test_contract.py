"""What every backend promises; a new file in the folder is tested without an edit here."""

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact, Batch, Probe, Session, run
from tresnet_deploy.errors import ArtifactError, DeployError, RunError, UsageError
from tresnet_deploy.registry import BACKENDS

from .conftest import LARGEST, Build, Images, copied

TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def session(backend: str, engine: Artifact) -> Iterator[Session]:
    """Return the engine, loaded once for all tests that leave it fit for the next."""
    loaded: Session = BACKENDS.load(backend).load(engine)
    with closing(loaded):
        yield loaded


@pytest.fixture(scope="module")
def expected(demo_graph: Artifact, images: Images) -> Images:
    """Return the logits of ``images`` as ONNX Runtime reads the graph."""
    with closing(BACKENDS.load("onnxruntime").load(demo_graph)) as graph:
        return np.asarray(run(graph, {"images": images})["logits"])


def test_a_backend_says_what_it_can_do(backend: str) -> None:
    module = BACKENDS.load(backend)
    found: Probe = module.probe()
    assert found.version
    assert found.devices
    assert set(found.precisions) <= set(module.GRAPHS)


def test_a_backend_has_frozen_options_for_every_precision(backend: str) -> None:
    module = BACKENDS.load(backend)
    for precision in module.GRAPHS:
        options = module.options_for(precision)
        assert isinstance(options, module.Options)
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(options, dataclasses.fields(options)[0].name, 1)


def test_an_engine_says_all_that_is_needed_to_judge_it(backend: str, engine: Artifact) -> None:
    read = artifacts.read(engine.path)
    assert (read.kind, read.step, read.backend) == ("engine", "build-engine", backend)
    assert read.path.name.endswith(BACKENDS.load(backend).WRITES)
    assert read.batch == Batch(min=1, opt=2, max=LARGEST)
    assert read.device
    assert read.verified
    assert read.parents[0].name == "tresnet.onnx"
    assert [name for name in read.settings if name.startswith(f"{backend}.")]
    assert {"build.seconds", "build.process_peak_mib"} <= set(read.settings)


@pytest.mark.parametrize("size", [1, 2, 3, LARGEST])
def test_an_engine_computes_what_its_graph_does_at_every_batch_size(
    session: Session, images: Images, expected: Images, size: int
) -> None:
    found = run(session, {"images": images[:size]})
    assert set(found) == {"logits"}
    np.testing.assert_allclose(found["logits"], expected[:size], atol=TOLERANCE)


def test_binding_copies_what_it_is_given(
    session: Session, images: Images, expected: Images
) -> None:
    fed = images[:2].copy()
    session.bind({"images": fed})
    fed[:] = 0
    session.step()
    np.testing.assert_allclose(session.fetch()["logits"], expected[:2], atol=TOLERANCE)


def test_what_was_fetched_is_not_changed_by_the_next_step(session: Session, images: Images) -> None:
    first = run(session, {"images": images[:1]})["logits"]
    kept = first.copy()
    run(session, {"images": images[1:2]})
    np.testing.assert_array_equal(first, kept)


def test_images_in_any_memory_order_are_read_right(
    session: Session, images: Images, expected: Images
) -> None:
    reversed_in_memory = np.ascontiguousarray(images[::-1])[::-1]
    found = run(session, {"images": reversed_in_memory})["logits"]
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("feeds", "message"),
    [
        ({}, "takes the inputs images, not none"),
        ({"pixels": np.zeros((1, 3, 64, 64), np.float32)}, "inputs images, not pixels"),
        ({"images": np.zeros((1, 3, 64, 64), np.float64)}, "takes float32, not float64"),
        ({"images": np.zeros((1, 64, 64, 3), np.float32)}, "64 x 64, not 1 x 64 x 64 x 3"),
        ({"images": np.zeros((3, 64, 64), np.float32)}, "3 x 64 x 64, not 3 x 64 x 64"),
        ({"images": np.zeros((0, 3, 64, 64), np.float32)}, "not 0 x 3 x 64 x 64"),
        ({"images": np.zeros((5, 3, 64, 64), np.float32)}, "built for batches of 1 to 4, not 5"),
    ],
)
def test_feeds_that_do_not_fit_are_a_usage_error(
    session: Session, feeds: dict[str, Images], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        session.bind(feeds)


def test_a_session_survives_feeds_that_do_not_fit(session: Session, images: Images) -> None:
    with pytest.raises(UsageError):
        session.bind({"images": images[:, :1]})
    assert np.isfinite(run(session, {"images": images})["logits"]).all()


def test_a_session_does_nothing_before_it_is_bound_and_after_it_is_closed(
    backend: str, engine: Artifact, images: Images
) -> None:
    session: Session = BACKENDS.load(backend).load(engine)
    with pytest.raises(RunError, match=r"closed, or bind\(\) was not called"):
        session.step()
    with pytest.raises(RunError):
        session.fetch()
    session.bind({"images": images})
    session.close()
    session.close()
    for act in (session.step, session.fetch, lambda: session.bind({"images": images})):
        with pytest.raises(RunError):
            act()


def test_an_engine_for_one_batch_size_takes_no_other(
    backend: str, build_engine: Build, images: Images, expected: Images
) -> None:
    artifact = build_engine(backend, Batch(min=2, opt=2, max=2))
    assert artifact.inputs[0].shape == (2, 3, 64, 64)
    assert artifact.outputs[0].shape == (2, 10)
    with closing(BACKENDS.load(backend).load(artifact)) as session:
        found = run(session, {"images": images[:2]})["logits"]
        np.testing.assert_allclose(found, expected[:2], atol=TOLERANCE)
        with pytest.raises(UsageError, match="not 1"):
            session.bind({"images": images[:1]})


def test_an_engine_of_another_backend_is_refused(backend: str, engine: Artifact) -> None:
    foreign = dataclasses.replace(engine, backend="tensorrt")
    with pytest.raises(ArtifactError, match=f"engine of tensorrt; {backend} cannot load it"):
        BACKENDS.load(backend).load(foreign)


def test_settings_of_another_version_are_refused(backend: str, engine: Artifact) -> None:
    names = [name for name in engine.settings if name.startswith(f"{backend}.")]
    settings = {**engine.settings, names[0]: ["no", "such", "value"]}
    with pytest.raises(ArtifactError, match="settings that this version does not know"):
        BACKENDS.load(backend).load(dataclasses.replace(engine, settings=settings))


def test_a_file_changed_after_the_build_is_not_trusted(engine: Artifact, tmp_path: Path) -> None:
    folder = tmp_path
    path = copied(engine, folder)
    for name in (path.name, *(each.name for each in engine.companions)):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(ArtifactError, match="is not the file that"):
            artifacts.read(path)
        (folder / name).write_bytes(whole)
    artifacts.read(path)


def test_an_engine_that_changed_since_its_build_is_refused_before_it_is_loaded(
    backend: str, engine: Artifact, tmp_path: Path
) -> None:
    path = copied(engine, tmp_path)
    trusted = artifacts.read(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ArtifactError, match="is not the file that"):
        BACKENDS.load(backend).load(trusted)


def test_a_damaged_engine_whose_sidecar_was_forged_is_an_error_and_no_crash(
    backend: str, engine: Artifact, tmp_path: Path
) -> None:
    path = copied(engine, tmp_path)
    path.write_bytes(b"no engine at all")
    with pytest.raises(DeployError) as caught:
        BACKENDS.load(backend).load(dataclasses.replace(engine, path=path))
    assert path.name in caught.value.message
