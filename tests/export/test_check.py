"""The proof that goes with each export: what passes it, what does not, and what is left behind."""

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tresnet import Checkpoint
from tresnet_deploy import export_check
from tresnet_deploy.backends import onnxruntime
from tresnet_deploy.contracts import Array, Artifact, Batch, Feeds
from tresnet_deploy.eager import Deployed
from tresnet_deploy.errors import ExportError, UnavailableError
from tresnet_deploy.export import ExportOptions, export
from tresnet_deploy.export_check import Agreement, check
from tresnet_deploy.images import ImageSet
from tresnet_deploy.registry import Folder

from .conftest import SIDE_PX, SOURCE, files_in, noise

INPUTS = (noise(1, 3, SIDE_PX, SIDE_PX), noise(3, 3, SIDE_PX, SIDE_PX))


class Twisted:
    """A session whose logits are off by ``offset``."""

    def __init__(self, artifact: Artifact, offset: float) -> None:
        self.session = onnxruntime.load(artifact)
        self.inputs, self.outputs = self.session.inputs, self.session.outputs
        self.offset = offset

    def bind(self, feeds: Feeds) -> None:
        self.session.bind(feeds)

    def step(self) -> None:
        self.session.step()

    def fetch(self) -> dict[str, Array]:
        return {name: array + self.offset for name, array in self.session.fetch().items()}

    def close(self) -> None:
        self.session.close()


@pytest.fixture
def reference(checkpoint: Checkpoint, plain: Artifact) -> Deployed:
    return Deployed(checkpoint.model, plain.preprocess)


def test_a_faithful_graph_agrees_to_rounding(reference: Deployed, plain: Artifact) -> None:
    agreement = check(reference, plain, INPUTS)
    assert agreement.relative < 1e-5
    assert (agreement.images, agreement.batch_sizes) == (4, (1, 3))
    assert agreement.noise is None


def test_another_graph_is_refused_with_error_and_bound(
    reference: Deployed, plain: Artifact
) -> None:
    with pytest.raises(ExportError, match=r"max abs error 0\.01 .* allowed: ") as caught:
        check(reference, plain, INPUTS, load=lambda artifact: Twisted(artifact, 0.01))
    assert caught.value.exit_code == 4
    assert "float32 itself is" in caught.value.message


def test_a_graph_that_gives_nan_is_refused(reference: Deployed, plain: Artifact) -> None:
    with pytest.raises(ExportError, match="max abs error nan"):
        check(reference, plain, INPUTS, load=lambda artifact: Twisted(artifact, np.nan))


def test_nothing_is_left_of_an_export_that_fails_its_check(
    checkpoint: Checkpoint, photos: ImageSet, tmp_path: Path
) -> None:
    target = tmp_path / "deploy" / "tiny.onnx"
    with pytest.raises(ExportError, match="does not compute the network"):
        export(
            checkpoint,
            target,
            source=SOURCE,
            options=ExportOptions(batch=Batch(min=1, opt=1, max=1)),
            images=photos,
            load=lambda artifact: Twisted(artifact, 1.0),
        )
    assert files_in(target.parent) == set()


def test_weights_that_give_nan_blame_the_checkpoint(
    checkpoint: Checkpoint, plain: Artifact
) -> None:
    model = copy.deepcopy(checkpoint.model)
    torch.nn.init.constant_(model.layer4[0].conv1.conv.weight, torch.nan)
    with pytest.raises(ExportError, match="the checkpoint is damaged"):
        check(Deployed(model, plain.preprocess), plain, INPUTS)


def test_without_an_engine_the_reference_evaluator_checks_and_says_so(
    reference: Deployed, plain: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(_self: Folder, name: str) -> None:
        raise UnavailableError(f"no {name}")

    monkeypatch.setattr(Folder, "load", load)
    agreement = check(reference, plain, INPUTS)
    assert "no engine is installed" in str(agreement)
    assert agreement.passed


def test_the_next_engine_checks_where_onnx_runtime_is_missing(
    plain: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Folder.load

    def load(self: Folder, name: str) -> object:
        if name == "onnxruntime":
            raise UnavailableError("no onnxruntime")
        assert name == "openvino"
        return original(self, "onnxruntime")  # stands in: only the order is tested here

    monkeypatch.setattr(Folder, "load", load)
    name, session = export_check.open_session(plain)
    session.close()
    assert name == "openvino"


class Amplifier(nn.Module):
    """The identity in exact arithmetic; float32 loses all but a few digits on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.tensor(2000.0))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.offset - self.offset


def test_a_network_that_amplifies_rounding_is_held_to_its_own_noise(plain: Artifact) -> None:
    exact = dataclasses.replace(plain, outputs=(plain.outputs[0],))
    inputs = (noise(2, 5),)

    class Exact(Twisted):
        def bind(self, feeds: Feeds) -> None:
            self.feeds = feeds

        def step(self) -> None:
            """Nothing is computed."""

        def fetch(self) -> dict[str, Array]:
            return {"logits": self.feeds["images"]}

    agreement = check(Amplifier(), exact, inputs, load=lambda artifact: Exact(artifact, 0.0))
    assert agreement.relative > 1e-5
    assert agreement.noise is not None
    assert agreement.passed


def test_probabilities_are_held_to_an_absolute_bound(plain: Artifact) -> None:
    agreement = Agreement(
        engine="x", images=1, batch_sizes=(1,), max_abs=2e-5, scale=1.0, noise=None
    )
    assert not agreement.passed
    assert dataclasses.replace(agreement, max_abs=0.9e-5).passed
    assert not dataclasses.replace(agreement, max_abs=float("nan")).passed
