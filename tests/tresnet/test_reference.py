"""A second TResNet, written from the description of the official state dict alone.

It reads official names with plain functional calls and shares no line with the package, so both
would have to be wrong in the same way. Random FReLU networks are ill-conditioned: float64 only.
"""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tresnet.architecture import Architecture, Head
from tresnet.checkpoint import load_state
from tresnet.model import TResNet, create
from tresnet.saving import miil_state

State = Mapping[str, Tensor]


class Reference:
    """Computes logits from an official state dict in float64."""

    def __init__(self, state: State, *, absolute: bool) -> None:
        self.state = {key: tensor.double() for key, tensor in state.items()}
        self.absolute = absolute

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias, mean, var = (
            self.state[f"{name}.{part}"].reshape(1, -1, 1, 1)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        gamma = weight.abs() + 1e-5 if self.absolute else weight
        return (x - mean) / (var + 1e-5).sqrt() * gamma + bias

    def frelu(self, x: Tensor, name: str) -> Tensor:
        weight = self.state[f"{name}.depthwise_conv_bn.0.weight"]
        around = F.conv2d(x, weight, padding=1, groups=x.shape[1])
        return torch.max(x, self.norm(around, f"{name}.depthwise_conv_bn.1"))

    def unit(self, x: Tensor, name: str, slope: float | None) -> Tensor:
        """Convolution, norm, activation; one level deeper where a blur follows."""
        if f"{name}.0.0.weight" in self.state:
            name += ".0"
        weight = self.state[f"{name}.0.weight"]
        x = self.norm(F.conv2d(x, weight, padding=weight.shape[2] // 2), f"{name}.1")
        if f"{name}.2.depthwise_conv_bn.0.weight" in self.state:
            return self.frelu(x, f"{name}.2")
        return x if slope is None else torch.where(x < 0, slope * x, x)

    def squeeze(self, x: Tensor, name: str) -> Tensor:
        if f"{name}.se.fc1.weight" not in self.state:
            return x
        parts = [self.state[f"{name}.se.{p}"] for p in ("fc1.weight", "fc1.bias")]
        gate = F.conv2d(x.mean((2, 3), keepdim=True), *parts).relu()
        parts = [self.state[f"{name}.se.{p}"] for p in ("fc2.weight", "fc2.bias")]
        return x * F.conv2d(gate, *parts).sigmoid()

    def block(self, x: Tensor, name: str) -> Tensor:
        basic = f"{name}.conv3.0.weight" not in self.state
        blurred = "conv1" if basic else "conv2"
        skip = x
        for index in "01":
            if f"{name}.downsample.{index}.0.weight" in self.state:
                skip = F.avg_pool2d(x, 2, 2, ceil_mode=True) if index == "1" else x
                skip = self.unit(skip, f"{name}.downsample.{index}", None)
        for conv in ("conv1", "conv2") if basic else ("conv1", "conv2", "conv3"):
            last = conv == ("conv2" if basic else "conv3")
            if last and not basic:
                x = self.squeeze(x, name)
            x = self.unit(x, f"{name}.{conv}", None if last else 1e-3)
            if conv == blurred and f"{name}.{conv}.0.0.weight" in self.state:
                x = blur(x)
        x = (self.squeeze(x, name) if basic else x) + skip
        if f"{name}.relu.depthwise_conv_bn.0.weight" in self.state:
            return self.frelu(x, f"{name}.relu")
        return x.relu()

    def logits(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        moved = torch.empty(n, 16 * c, h // 4, w // 4, dtype=torch.float64)
        for row in range(4):
            for column in range(4):
                first = (row * 4 + column) * c
                moved[:, first : first + c] = x[:, :, row::4, column::4]
        x = self.unit(moved, "body.conv1", 1e-2)
        for layer in range(1, 5):
            block = 0
            while any(k.startswith(f"body.layer{layer}.{block}.") for k in self.state):
                x = self.block(x, f"body.layer{layer}.{block}")
                block += 1
        return x.mean((2, 3)) @ self.state["head.fc.weight"].T + self.state["head.fc.bias"]


def blur(x: Tensor) -> Tensor:
    line = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    weight = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), weight, stride=2, groups=x.shape[1])


def zero_padded_blur(x: Tensor) -> Tensor:
    line = torch.tensor([0.25, 0.5, 0.25], dtype=torch.float64)
    weight = torch.outer(line, line).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(x, weight, padding=1, stride=2, groups=x.shape[1])


NETWORKS = {
    "v1": Architecture(width=8, depths=(2, 2, 2, 2), head=Head.linear(7)),
    "v2": Architecture(width=8, depths=(2, 2, 2, 2), family="v2", head=Head.linear(7)),
    "v1 frelu": Architecture(width=8, depths=(1, 2, 2, 1), activation="frelu", head=Head.linear(7)),
    "tresnet_d": Architecture(
        width=8, depths=(3, 6, 14, 3), family="v2", activation="frelu", head=Head.linear(7)
    ),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest, fill: Callable[[TResNet], TResNet]) -> TResNet:
    return fill(create(NETWORKS[request.param]))


@pytest.mark.parametrize("size", [(64, 64), (36, 52)])
def test_the_network_equals_the_second_one_within_1e_9_in_float64(
    network: TResNet, size: tuple[int, int]
) -> None:
    state = miil_state(network)
    x = torch.rand(1, 3, *size, dtype=torch.float64)
    expected = Reference(state, absolute=network.gammas == "absolute").logits(x)
    with torch.no_grad():
        actual = load_state(state).model.double()(x)
    assert expected.std() > 1e-3
    scale = max(1.0, expected.abs().max().item())
    torch.testing.assert_close(actual, expected, atol=1e-9 * scale, rtol=0)


def test_zero_padding_in_the_blurs_would_be_another_network(
    fill: Callable[[TResNet], TResNet], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = fill(create(NETWORKS["v1"]))
    x = torch.rand(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        exact = network.double()(x)
    monkeypatch.setitem(globals(), "blur", zero_padded_blur)
    wrong = Reference(miil_state(network), absolute=True).logits(x)
    assert (wrong - exact).abs().max() > 0.01 * exact.std()
