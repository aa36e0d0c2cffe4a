"""The classifiers, each against torch's own modules or plain algebra."""

import pytest
import torch
from torch import Tensor, nn

from tresnet.architecture import Head
from tresnet.heads import BottleneckHead, MLDecoderHead, build_head

FEATURES = 24


@pytest.fixture
def features() -> Tensor:
    return torch.rand(2, FEATURES, 3, 2, dtype=torch.float64)


def decoder(classes: int, groups: int) -> MLDecoderHead:
    head = build_head(Head.ml_decoder(classes, groups=groups, embedding=16, hidden=20), FEATURES)
    head.reset_parameters()
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.3)
    return head.double()


def test_a_linear_head_reads_the_mean_of_the_map(features: Tensor) -> None:
    head = build_head(Head.linear(5), FEATURES).double()
    expected = features.mean((2, 3)) @ head.fc.weight.T + head.fc.bias
    torch.testing.assert_close(head(features), expected)


def test_a_bottleneck_head_has_nothing_between_its_layers(features: Tensor) -> None:
    head = build_head(Head.with_bottleneck(5, bottleneck=4), FEATURES).double()
    assert isinstance(head, BottleneckHead)
    weight = head.fc.weight @ head.embedding.weight
    bias = head.fc.weight @ head.embedding.bias + head.fc.bias
    torch.testing.assert_close(head(features), features.mean((2, 3)) @ weight.T + bias)


@pytest.mark.parametrize(("classes", "groups"), [(6, 6), (7, 3), (9, 2), (4, 100)])
def test_the_decoder_equals_torchs_attention_and_a_loop_over_groups(
    features: Tensor, classes: int, groups: int
) -> None:
    head = decoder(classes, groups).eval()
    attention = nn.MultiheadAttention(16, 8, batch_first=True).double().eval()
    with torch.no_grad():
        parts = (head.queries.project, head.key, head.value)
        attention.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        attention.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        attention.out_proj.load_state_dict(head.attended.state_dict())
        memory = torch.relu(head.embed(features.flatten(2).transpose(1, 2)))
        target = head.queries.norm(2 * head.queries.embedding).expand(2, -1, -1)
        target = head.attention_norm(target + attention(target, memory, memory)[0])
        hidden = head.contract(torch.relu(head.expand(target)))
        target = head.output_norm(target + hidden)
        factor = head.group_weight.shape[2]
        expected = torch.stack(
            [
                target[:, k // factor] @ head.group_weight[k // factor, :, k % factor]
                + head.group_bias[k]
                for k in range(classes)
            ],
            dim=1,
        )
        torch.testing.assert_close(head(features), expected, atol=1e-12, rtol=1e-12)


def test_a_decoder_never_has_more_groups_than_classes() -> None:
    head = Head.ml_decoder(4)
    assert (head.groups, head.factor) == (4, 1)
    assert Head.ml_decoder(9605, groups=200).factor == 49


@pytest.mark.parametrize(
    "head",
    [Head.linear(5), Head.with_bottleneck(5), Head.ml_decoder(5, embedding=16, hidden=20)],
    ids=lambda head: head.kind,
)
def test_every_head_can_be_trained(head: Head) -> None:
    module = build_head(head, FEATURES)
    module.reset_parameters()
    module.train()(torch.rand(2, FEATURES, 2, 2)).square().sum().backward()
    grads = {name: p.grad for name, p in module.named_parameters() if p.requires_grad}
    assert all(grad is not None and grad.isfinite().all() for grad in grads.values())


def test_the_decoders_queries_are_fixed_unless_asked_to_learn() -> None:
    head = decoder(5, 5)
    assert not head.queries.embedding.requires_grad
    head.queries.embedding.requires_grad_(True)
    head.train()(torch.rand(2, FEATURES, 2, 2).double()).square().sum().backward()
    assert head.queries.embedding.grad is not None


def test_the_decoder_drops_out_in_training_only(features: Tensor) -> None:
    head = decoder(6, 3)
    assert torch.equal(head.eval()(features), head(features))
    assert not torch.equal(head.train()(features), head(features))
