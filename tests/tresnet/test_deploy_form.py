"""Folding: the same numbers from fewer operators, and the original left alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tresnet.architecture import Architecture, Head, Slopes
from tresnet.deploy_form import deploy_form, fold_norm
from tresnet.heads import ConstantQueries, DecoderQueries
from tresnet.layers import ActivatedNorm
from tresnet.model import TResNet, create

Fill = Callable[[TResNet], TResNet]

NETWORKS = {
    "v1": Architecture(width=8, depths=(1, 2, 2, 1), slopes=Slopes(stem=0.2, block=0.1)),
    "v2": Architecture(width=8, depths=(2, 1, 1, 1), family="v2", head=Head.with_bottleneck(5)),
    "decoder": Architecture(width=8, depths=(1, 1, 1, 1), head=Head.ml_decoder(5, embedding=16)),
    "frelu": Architecture(width=8, depths=(1, 1, 1, 1), family="v2", activation="frelu"),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest, fill: Fill) -> TResNet:
    return fill(create(NETWORKS[request.param]))


def test_the_deploy_form_equals_the_network_within_1e_10_in_float64(
    network: TResNet, images: Tensor
) -> None:
    network.double()
    with torch.no_grad():
        expected = network(images.double())
        actual = deploy_form(network, dtype=torch.float64)(images.double())
    scale = max(1.0, expected.abs().max().item())  # a tiny network's logits can be large
    torch.testing.assert_close(actual, expected, atol=1e-10 * scale, rtol=0)


def test_only_convolutions_and_activations_are_left(network: TResNet) -> None:
    deployed = deploy_form(network)
    kinds = {type(module) for module in deployed.modules()}
    assert not kinds & {ActivatedNorm, nn.BatchNorm2d, DecoderQueries}
    assert not any(module.training for module in deployed.modules())
    assert not any(p.requires_grad for p in deployed.parameters())


def test_every_convolution_keeps_its_path_and_gets_a_bias(network: TResNet) -> None:
    deployed = dict(deploy_form(network).named_modules())
    paths = [path for path, m in network.named_modules() if isinstance(m, nn.Conv2d)]
    assert paths
    for path in paths:
        assert isinstance(deployed[path], nn.Conv2d)
        assert deployed[path].bias is not None


def test_the_original_is_left_alone(network: TResNet, images: Tensor) -> None:
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    network.train()
    deployed = deploy_form(network)
    assert network.training
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    with torch.no_grad():
        for parameter in deployed.parameters():
            parameter.zero_()
    assert network.stem.conv.weight.any()


def test_deploying_twice_changes_nothing(network: TResNet, images: Tensor) -> None:
    once = deploy_form(network)
    with torch.no_grad():
        assert torch.equal(deploy_form(once)(images), once(images))


def test_slopes_survive_as_activations(fill: Fill) -> None:
    deployed = deploy_form(fill(create(NETWORKS["v1"])))
    assert deployed.stem.activation.negative_slope == 0.2
    assert deployed.layer1[0].conv1.activation.negative_slope == 0.1
    assert isinstance(deployed.layer1[0].conv2.activation, nn.Identity)


def test_a_decoders_queries_become_constants(fill: Fill) -> None:
    deployed = deploy_form(fill(create(NETWORKS["decoder"])))
    assert isinstance(deployed.head.queries, ConstantQueries)
    assert not list(deployed.head.queries.parameters())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once_from_float64(fill: Fill, dtype: torch.dtype) -> None:
    network = fill(create(NETWORKS["v1"]))
    half = deploy_form(network, dtype=dtype).state_dict()
    exact = deploy_form(network, dtype=torch.float64).state_dict()
    assert all(torch.equal(half[key], exact[key].to(dtype)) for key in exact)


def test_a_norm_of_each_sign_and_zero_folds_exactly() -> None:
    conv, norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), ActivatedNorm(4, slope=None).eval()
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-2.0, 0.0, 1e-7, 3.0]))
        norm.bias.normal_()
        norm.running_mean.normal_()
        norm.running_var.copy_(torch.tensor([0.0, 1e-8, 1.0, 100.0]))
        x = torch.randn(1, 3, 5, 5, dtype=torch.float64)
        folded = fold_norm(conv, norm, dtype=torch.float64)
        expected = norm.double()(conv.double()(x))
    torch.testing.assert_close(folded(x), expected, atol=1e-12, rtol=1e-12)


def test_the_deploy_form_exports_with_a_dynamic_batch(fill: Fill, images: Tensor) -> None:
    deployed = deploy_form(fill(create(NETWORKS["decoder"])))
    shapes = {"x": {0: torch.export.Dim("batch")}}
    program = torch.export.export(deployed, (images,), dynamic_shapes=shapes)
    operators = {str(node.target) for node in program.graph.nodes}
    assert not any("batch_norm" in name for name in operators)
    torch.testing.assert_close(program.module()(images[:1]), deployed(images[:1]))
