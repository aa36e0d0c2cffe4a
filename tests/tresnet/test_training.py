"""Training: gradients flow everywhere, and InPlace-ABN changes memory, not numbers."""

import importlib.util

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tresnet.architecture import Architecture, Head
from tresnet.model import TResNet, create

has_abn = pytest.mark.skipif(
    importlib.util.find_spec("inplace_abn") is None, reason="inplace-abn is not installed: make abn"
)
SMALL = Architecture(width=8, depths=(1, 1, 1, 1), head=Head.linear(4))
STEPS = 16


def overfit(model: TResNet, images: Tensor, labels: Tensor) -> list[float]:
    """Losses of some steps of SGD on one batch."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    losses = []
    for _ in range(STEPS):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    r = torch.Generator().manual_seed(1)
    return torch.rand(8, 3, 32, 32, generator=r), torch.arange(8) % 4


def trained(norm: str, batch: tuple[Tensor, Tensor]) -> tuple[TResNet, list[float]]:
    torch.manual_seed(0)
    model = create(SMALL, norm=norm)
    return model, overfit(model, *batch)


def test_a_tiny_network_overfits_one_batch(batch: tuple[Tensor, Tensor]) -> None:
    _, losses = trained("batchnorm", batch)
    assert losses[0] == pytest.approx(1.386, abs=0.1)  # ln 4: it knows nothing yet
    assert losses[-1] < 0.05


@has_abn
def test_inplace_abn_trains_to_the_same_loss(batch: tuple[Tensor, Tensor]) -> None:
    _, ours = trained("batchnorm", batch)
    model, theirs = trained("inplace_abn", batch)
    assert theirs[:5] == pytest.approx(ours[:5], rel=1e-3)
    assert theirs[-1] == pytest.approx(ours[-1], abs=0.02)
    # Both are one network: the state of one evaluates in the other.
    other = create(SMALL, norm="batchnorm")
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.eval()(batch[0]), model.eval()(batch[0]))


@has_abn
@pytest.mark.parametrize("family", ["v1", "v2"])
def test_gradients_of_the_whole_network_do_not_depend_on_the_norms_form(
    family: str, batch: tuple[Tensor, Tensor]
) -> None:
    architecture = Architecture(width=8, depths=(1, 1, 2, 2), family=family, head=Head.linear(4))
    grads = []
    for norm in ("batchnorm", "inplace_abn"):
        torch.manual_seed(0)
        model = create(architecture, norm=norm).double()
        for block in model.blocks():  # else the branches are dead in the first step
            torch.nn.init.constant_(getattr(block, "conv3", block.conv2).norm.weight, -0.5)
        F.cross_entropy(model(batch[0].double()), batch[1]).backward()
        grads.append([p.grad for p in model.parameters()])
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(theirs, ours, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("activation", ["leaky", "frelu"])
@pytest.mark.parametrize("gammas", ["absolute", "plain"])
def test_every_parameter_gets_a_gradient(
    activation: str, gammas: str, batch: tuple[Tensor, Tensor]
) -> None:
    architecture = Architecture(
        width=8, depths=(1, 1, 1, 1), family="v2", activation=activation, head=Head.linear(4)
    )
    model = create(architecture, gammas=gammas)
    for block in model.blocks():
        torch.nn.init.constant_(block.conv3.norm.weight, 0.5)
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert not dead


def test_the_images_of_the_caller_are_never_overwritten(batch: tuple[Tensor, Tensor]) -> None:
    images = batch[0].clone()
    model = create(SMALL)
    model.train()(images)
    model.eval()(images)
    assert torch.equal(images, batch[0])
