"""Seeded random weights: the same for the same seed, and as well-behaved as trained ones."""

import numpy as np
import pytest
import torch
from PIL import Image

from tresnet.errors import ArchitectureError
from tresnet.layers import ActivatedNorm
from tresnet.model import TResNet
from tresnet_deploy.weights import load, random_checkpoint, resolve

VARIANTS = ["m_x0.25", "l_x0.25", "v2_l_x0.25", "tresnet_d_x0.25"]


@pytest.fixture(scope="module", params=VARIANTS)
def model(request: pytest.FixtureRequest) -> TResNet:
    name: str = request.param
    return random_checkpoint(name).model


def pictures(count: int = 16, size_px: int = 64) -> torch.Tensor:
    """Smooth blobs of random colours: not the noise that the weights were calibrated with."""
    random = np.random.default_rng(7)
    images = []
    for _ in range(count):
        corners = random.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        image = Image.fromarray(corners).resize((size_px, size_px), Image.Resampling.BICUBIC)
        images.append(np.asarray(image, dtype=np.float32) / 255)
    return torch.from_numpy(np.stack(images).transpose(0, 3, 1, 2).copy())


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    first, again, other = (random_checkpoint("m_x0.25", seed=seed) for seed in (1, 1, 2))
    images = pictures(2)
    with torch.no_grad():
        assert torch.equal(first.model(images), again.model(images))
        assert not torch.allclose(first.model(images), other.model(images))
    assert first.sha256 == again.sha256 != other.sha256


def test_the_global_random_state_is_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    random_checkpoint("m_x0.25")
    assert torch.equal(torch.rand(3), expected)


def test_logits_of_pictures_are_of_order_one_and_differ_between_pictures(model: TResNet) -> None:
    with torch.no_grad():
        logits = model(pictures())
    assert 0.3 < logits.std() < 10
    assert logits.std(0).mean() > 0.3
    assert len(logits.argmax(1).unique()) >= 4


def test_no_block_explodes_or_dies(model: TResNet) -> None:
    spreads: list[float] = []
    hooks = [
        block.register_forward_hook(lambda _m, _i, out: spreads.append(float(out.std())))
        for block in model.blocks()
    ]
    with torch.no_grad():
        model(pictures())
    for hook in hooks:
        hook.remove()
    assert min(spreads) > 0.1
    assert max(spreads) < 30


def test_gammas_are_raw_as_in_the_official_layout_and_every_residual_branch_counts() -> None:
    checkpoint = random_checkpoint("m_x0.25")
    weights = torch.cat(
        [norm.weight for norm in checkpoint.model.modules() if isinstance(norm, ActivatedNorm)]
    )
    assert checkpoint.layout == "miil"
    assert checkpoint.gammas == "absolute"
    assert 0.3 < float((weights < 0).float().mean()) < 0.5
    assert weights.abs().min() > 0.01


def test_small_noise_inside_moves_logits_little() -> None:
    """INT8 adds noise of about one percent to each activation: top-1 must survive it."""
    model = random_checkpoint("m_x0.25").model
    images = pictures()
    generator = torch.Generator().manual_seed(0)

    def disturb(_module: torch.nn.Module, _inputs: object, out: torch.Tensor) -> torch.Tensor:
        return out + 0.01 * out.std() * torch.randn(out.shape, generator=generator)

    with torch.no_grad():
        clean = model(images)
        for norm in model.modules():
            if isinstance(norm, ActivatedNorm):
                norm.register_forward_hook(disturb)
        noisy = model(images)
    assert (noisy - clean).std() < 0.05 * clean.std()


def test_a_class_count_may_be_chosen() -> None:
    source = resolve(variant="m_x0.25", tag="random", seed=3, classes=5)
    assert (source.kind, source.seed, source.classes) == ("random", 3, 5)
    assert source.variant == "tresnet_m_x0.25"
    assert load(source).architecture.head.classes == 5


def test_one_class_is_enough() -> None:
    assert random_checkpoint("m_x0.25", classes=1).architecture.head.classes == 1


def test_no_classes_are_refused() -> None:
    with pytest.raises(ArchitectureError):
        random_checkpoint("m_x0.25", classes=0)
