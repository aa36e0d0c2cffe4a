from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tresnet_deploy import scoring
from tresnet_deploy.contracts import Array, Artifact, Batch, Feeds, Labels, Preprocess, Source
from tresnet_deploy.contracts import TensorSpec as Spec
from tresnet_deploy.errors import ArtifactError, RunError, UnavailableError
from tresnet_deploy.registry import Folder


class FirstPixel:
    """Answers the first pixel of each image."""

    def __init__(self, batch: int | str = "n") -> None:
        self.inputs = (Spec(name="x", dtype="float32", shape=(batch, 2)),)
        self.outputs = (Spec(name="y", dtype="float32", shape=(batch, 1)),)
        self.sizes: list[int] = []

    def bind(self, feeds: Feeds) -> None:
        self._fed = feeds["x"]
        self.sizes.append(len(self._fed))

    def step(self) -> None:
        self._answer = self._fed[:, :1]

    def fetch(self) -> dict[str, Array]:
        return {"y": self._answer}

    def close(self) -> None:
        self.closed = True


IMAGES = np.arange(14, dtype=np.float32).reshape(7, 2)


@pytest.mark.parametrize(
    ("shape", "limits", "sizes"),
    [
        ("n", None, [7]),
        ("n", Batch(min=1, opt=2, max=3), [3, 3, 1]),
        ("n", Batch(min=2, opt=2, max=3), [3, 3, 2]),
        (4, None, [4, 4]),
        (4, Batch(min=4, opt=4, max=4), [4, 4]),
    ],
)
def test_images_are_run_in_sizes_that_the_session_takes(
    shape: int | str, limits: Batch | None, sizes: list[int]
) -> None:
    session = FirstPixel(shape)
    scores = scoring.scores_of(session, IMAGES, batch=limits)
    assert session.sizes == sizes
    assert (scores == IMAGES[:, :1]).all()


def test_the_preferred_batch_is_the_graphs_the_engines_or_the_default() -> None:
    assert scoring.preferred_batch(FirstPixel(4), None) == 4
    assert scoring.preferred_batch(FirstPixel(), Batch(min=1, opt=5, max=9)) == 5
    assert scoring.preferred_batch(FirstPixel(), None) == scoring.DEFAULT_BATCH


GRAPH = Artifact(
    path=Path("deploy/net.onnx"),
    kind="onnx",
    step="export",
    sha256="",
    architecture="tresnet_m",
    precision="fp32",
    inputs=(),
    outputs=(),
    preprocess=Preprocess(),
    labels=Labels(classes=1),
    source=Source(kind="random", location="", sha256=""),
)


def test_a_checkpoint_cannot_run_by_itself() -> None:
    with pytest.raises(ArtifactError, match="checkpoint, which cannot run by itself"):
        scoring.load(replace(GRAPH, kind="checkpoint"))


def test_without_any_runtime_both_ways_to_get_one_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(self: Folder, name: str) -> None:
        raise UnavailableError(f"no {name}")

    monkeypatch.setattr(Folder, "load", missing)
    with pytest.raises(UnavailableError, match=r"no runtime for net\.onnx") as raised:
        scoring.load(GRAPH)
    assert raised.value.hints == (
        "pip install 'tresnet-deploy[onnxruntime]'",
        "pip install 'tresnet-deploy[openvino]'",
    )


def test_a_graph_that_one_runtime_refuses_is_given_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    session = FirstPixel()

    class Refusing:
        @staticmethod
        def load(artifact: Artifact) -> None:
            raise RunError("no bfloat16 here")

    class Taking:
        @staticmethod
        def load(artifact: Artifact) -> FirstPixel:
            return session

    found = {"onnxruntime": Refusing, "openvino": Taking}
    monkeypatch.setattr(Folder, "load", lambda self, name: found[name])
    with scoring.opened(GRAPH) as opened:
        assert opened is session
    assert session.closed


def test_a_graph_that_every_runtime_refuses_tells_the_first_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Refusing:
        @staticmethod
        def load(artifact: Artifact) -> None:
            raise RunError("no bfloat16 here")

    monkeypatch.setattr(Folder, "load", lambda self, name: Refusing)
    with pytest.raises(RunError, match="no bfloat16 here"):
        scoring.load(GRAPH)
