"""Each layer against its definition, written out a second time."""

import importlib.util

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tresnet.errors import ArchitectureError, MissingPackageError
from tresnet.layers import (
    ActivatedNorm,
    BlurPool2d,
    FReLU,
    SpaceToDepth,
    SqueezeExcite,
    in_place_operator,
)

has_abn = pytest.mark.skipif(
    importlib.util.find_spec("inplace_abn") is None, reason="inplace-abn is not installed: make abn"
)


def filled_norm(**settings: object) -> ActivatedNorm:
    norm = ActivatedNorm(6, **settings).double().eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-1.0, 0.0, 0.5, -1e-7, 1.0, 2.0]))
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return norm


def test_space_to_depth_keeps_channels_together_within_each_pixel_of_the_block() -> None:
    x = torch.arange(2 * 3 * 8 * 12.0).reshape(2, 3, 8, 12)
    out = SpaceToDepth()(x)
    assert out.shape == (2, 48, 2, 3)
    for channel in range(3):
        for row in range(4):
            for column in range(4):
                moved = out[:, (row * 4 + column) * 3 + channel]
                assert torch.equal(moved, x[:, channel, row::4, column::4])


def test_pixel_unshuffle_would_order_the_channels_differently() -> None:
    x = torch.rand(1, 3, 8, 8)
    assert not torch.equal(SpaceToDepth()(x), F.pixel_unshuffle(x, 4))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (5, 8), (7, 7), (6, 3)])
def test_the_blur_equals_its_sum_over_a_mirrored_map(height: int, width: int) -> None:
    x = torch.rand(1, 2, height, width, dtype=torch.float64)
    padded = np.pad(x.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    expected = np.zeros((1, 2, -(-height // 2), -(-width // 2)))
    for row, a in enumerate([0.25, 0.5, 0.25]):
        for column, b in enumerate([0.25, 0.5, 0.25]):
            window = padded[:, :, row : row + height : 2, column : column + width : 2]
            expected += a * b * window
    out = BlurPool2d(2).double()(x)
    assert out.shape == expected.shape
    np.testing.assert_allclose(out.numpy(), expected, atol=1e-15)


def test_the_blurs_filter_is_exact_in_half_precision_and_in_no_state_dict() -> None:
    blur = BlurPool2d(4)
    assert not blur.state_dict()
    for dtype in (torch.float16, torch.bfloat16):
        assert torch.equal(blur.filter.to(dtype).float(), blur.filter)


def test_squeeze_excite_scales_channels_by_a_gate_of_their_means() -> None:
    se = SqueezeExcite(4, 3).double()
    x = torch.rand(2, 4, 5, 5, dtype=torch.float64)
    mean = x.mean((2, 3))
    hidden = torch.relu(mean @ se.fc1.weight.flatten(1).T + se.fc1.bias)
    gate = torch.sigmoid(hidden @ se.fc2.weight.flatten(1).T + se.fc2.bias)
    torch.testing.assert_close(se(x), x * gate[:, :, None, None])


@pytest.mark.parametrize("slope", [None, 1e-2])
def test_an_absolute_norm_multiplies_with_the_absolute_gamma_plus_eps(slope: float | None) -> None:
    norm = filled_norm(slope=slope)
    x = torch.randn(2, 6, 3, 3, dtype=torch.float64)
    shaped = [t.reshape(1, -1, 1, 1) for t in (norm.running_mean, norm.running_var, norm.bias)]
    gamma = (norm.weight.abs() + 1e-5).reshape(1, -1, 1, 1)
    expected = (x - shaped[0]) / torch.sqrt(shaped[1] + 1e-5) * gamma + shaped[2]
    if slope is not None:
        expected = torch.where(expected < 0, slope * expected, expected)
    torch.testing.assert_close(norm(x.clone()), expected, atol=1e-14, rtol=0)


def test_a_plain_norm_is_batchnorm_with_its_signed_gammas() -> None:
    norm = filled_norm(slope=None, gammas="plain")
    x = torch.randn(2, 6, 3, 3, dtype=torch.float64)
    plain = torch.nn.BatchNorm2d(6).double().eval()
    plain.load_state_dict(norm.state_dict())
    assert torch.equal(norm(x.clone()), plain(x))


def test_a_gamma_of_zero_still_learns() -> None:
    norm = ActivatedNorm(3, slope=None)
    torch.nn.init.zeros_(norm.weight)
    (norm(torch.randn(4, 3, 5, 5)) * torch.randn(4, 3, 5, 5)).sum().backward()
    assert (norm.weight.grad != 0).all()


@has_abn
@pytest.mark.parametrize("slope", [None, 1e-2])
def test_in_place_and_batchnorm_forms_agree_in_output_gradient_and_statistics(
    slope: float | None,
) -> None:
    results = []
    x = torch.randn(4, 6, 5, 5, dtype=torch.float64)
    direction = torch.randn(4, 6, 5, 5, dtype=torch.float64)
    start = filled_norm(slope=slope).state_dict()
    start["weight"][1] = 0.01  # at 0 the in-place form divides by 1e-5 and loses digits
    start["weight"][3] = -0.01
    for operator in (None, in_place_operator("inplace_abn")):
        norm = ActivatedNorm(6, slope=slope, operator=operator).double().train()
        norm.load_state_dict(start)
        leaf = x.clone().requires_grad_()
        out = norm(leaf * 1.0)
        (out * direction).sum().backward()
        results.append((out, leaf.grad, norm.weight.grad, norm.bias.grad, norm.running_var))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-8, rtol=1e-6)


@has_abn
def test_a_norm_in_evaluation_is_ordinary_torch_even_when_it_trains_in_place() -> None:
    norm = filled_norm(slope=None)
    in_place = filled_norm(slope=None, operator=in_place_operator("inplace_abn"))
    in_place.load_state_dict(norm.state_dict())
    x = torch.randn(2, 6, 3, 3, dtype=torch.float64)
    kept = x.clone()
    assert torch.equal(in_place(x), norm(x))
    assert torch.equal(x, kept)
    assert not in_place.in_place


@has_abn
def test_in_place_norms_cannot_have_plain_gammas() -> None:
    operator = in_place_operator("auto")
    with pytest.raises(ArchitectureError, match="plain gammas need norm='batchnorm'"):
        ActivatedNorm(6, slope=None, gammas="plain", operator=operator)


def test_a_missing_inplace_abn_is_an_error_only_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "inplace_abn.functions", None)
    assert in_place_operator("auto") is None
    assert in_place_operator("batchnorm") is None
    with pytest.raises(MissingPackageError, match="pip install --no-build-isolation"):
        in_place_operator("inplace_abn")


def test_frelu_takes_the_larger_of_a_value_and_its_normalised_neighbourhood() -> None:
    frelu = FReLU(3).double().eval()
    with torch.no_grad():
        frelu.norm.weight.copy_(torch.tensor([-1.0, 0.5, 2.0]))
        frelu.norm.running_var.uniform_(0.5, 2)
    x = torch.randn(1, 3, 6, 6, dtype=torch.float64)
    padded = F.pad(x, (1, 1, 1, 1))
    around = torch.zeros_like(x)
    for row in range(3):
        for column in range(3):
            weight = frelu.conv.weight[:, 0, row, column].reshape(1, 3, 1, 1)
            around += weight * padded[:, :, row : row + 6, column : column + 6]
    scale = frelu.norm.weight / torch.sqrt(frelu.norm.running_var + 1e-5)
    expected: Tensor = torch.maximum(x, around * scale.reshape(1, 3, 1, 1))
    torch.testing.assert_close(frelu(x), expected)


def test_converting_to_sync_batch_norm_leaves_activated_norms_alone() -> None:
    network = torch.nn.Sequential(filled_norm(slope=0.01))
    x = torch.randn(2, 6, 3, 3).double()
    before = network(x)
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(network)
    assert torch.equal(network(x), before)
