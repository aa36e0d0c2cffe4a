"""Seeded random weights that behave like trained ones, for trying every step without a download.

Freshly initialised networks would be a poor stand-in: their residual branches are multiplied by 0
and their activations drift out of range from block to block. Here

- gammas of either sign (the MIIL layout stores them raw) and small residual branches keep the
  network stable, so that INT8 noise grows as slowly as in a trained one;
- the statistics of each norm are those of noise with the spectrum of photographs (power falling
  with the square of the frequency: Field, JOSA A 4(12), 1987), passed through once;
- the classifier reads the main directions in which the features of such images differ, and
  subtracts their mean. So logits vary from image to image, with a standard deviation of about 1.

The same variant, seed and class count give the same weights up to the rounding of float32 sums,
which may differ between processors. They classify nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
from typing import TYPE_CHECKING, Final

from tresnet.variants import Slopes, find

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from tresnet.checkpoint import Checkpoint
    from tresnet.model import TResNet

_RECIPE: Final = "1"
"""Part of the hash: goes up when the same seed would give other weights."""

_REASON: Final = "as these random weights were made"
DEFAULT_CLASSES: Final = 1000

# Chosen on M and L with the sample photographs, all body convolutions simulated in INT8: logits
# move by 1.1 and 1.3 % of their spread and no top-1 class changes. Gammas of 0.5 give 6 %.
_RESIDUAL_GAMMA: Final = 0.1
_CLASSIFIER_RANK: Final = 8
_GAMMA_RANGE: Final = (0.5, 1.5)  # times 1, or times the residual gamma
_NEGATIVE_GAMMAS: Final = 0.4
_BETA_STD: Final = 0.1
_IMAGES: Final = 32
_IMAGE_PX: Final = 64
_COLOUR_NOISE: Final = 0.5  # of the brightness noise
_CONTRAST: Final = (0.1, 0.3)  # standard deviation of an image
_BRIGHTNESS: Final = (0.25, 0.75)


def description_sha256(variant: str, *, seed: int, classes: int) -> str:
    """Return the hash that names these weights: of their recipe, since they are in no file."""
    text = f"random weights, recipe {_RECIPE}: {find(variant).name} {seed} {classes}"
    return hashlib.sha256(text.encode()).hexdigest()


def random_checkpoint(variant: str, *, seed: int = 0, classes: int = DEFAULT_CLASSES) -> Checkpoint:
    """Return the variant with seeded weights, as if loaded from a file of the MIIL layout.

    Raises:
        UnknownVariantError: there is no such variant.
        ArchitectureError: no such number of classes, or no such width.
    """
    import torch

    from tresnet import create, load_state
    from tresnet.metadata import Notes
    from tresnet.saving import miil_state

    row = find(variant)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = create(row, classes=classes, norm="batchnorm")
        _spread_norms(model, generator)
        _calibrate(model, generator)
    checkpoint = load_state(
        miil_state(model), norm="batchnorm", notes=Notes(gammas=model.gammas, slopes=Slopes())
    )
    return dataclasses.replace(
        checkpoint,
        gammas_reason=_REASON,
        slopes_reason=_REASON,
        input_reason="the usual rule of TResNet: random weights have none of their own",
        sha256=description_sha256(variant, seed=seed, classes=classes),
    )


def _spread_norms(model: TResNet, generator: Generator) -> None:
    """Give each norm gammas of either sign and small biases; small gammas end the branches."""
    import torch

    from tresnet.layers import ActivatedNorm

    low, high = _GAMMA_RANGE
    for norm in model.modules():
        if isinstance(norm, ActivatedNorm):
            (channels,) = norm.weight.shape
            ends_branch = not norm.weight.any()  # create() starts these at zero
            gammas = low + (high - low) * torch.rand(channels, generator=generator)
            signs = torch.rand(channels, generator=generator) < _NEGATIVE_GAMMAS
            if norm.gammas == "absolute":
                gammas = torch.where(signs, -gammas, gammas)
            norm.weight.copy_(_RESIDUAL_GAMMA * gammas if ends_branch else gammas)
            norm.bias.copy_(_BETA_STD * torch.randn(channels, generator=generator))


def _calibrate(model: TResNet, generator: Generator) -> None:
    """Set all running statistics and the classifier from one pass of synthetic images."""
    import torch

    from tresnet.heads import LinearHead
    from tresnet.layers import ActivatedNorm

    for norm in model.modules():
        if isinstance(norm, ActivatedNorm):
            norm.momentum = 1.0  # running statistics become those of this one batch
    images = _synthetic_images(generator)
    features = model.train().features(images).mean((2, 3))  # (N, C)
    mean = features.mean(0)
    _, scales, directions = torch.linalg.svd(features - mean, full_matrices=False)
    rank = min(_CLASSIFIER_RANK, len(scales) - 1)
    spread = scales[:rank] / len(features) ** 0.5  # standard deviation along each direction
    assert isinstance(model.head, LinearHead)
    fc = model.head.fc
    mix = torch.randn(fc.out_features, rank, generator=generator) / rank**0.5
    fc.weight.copy_((mix / spread) @ directions[:rank])  # (classes, C)
    fc.bias.copy_(-fc.weight @ mean)


def _synthetic_images(generator: Generator) -> Tensor:
    """Return noise of all scales as (N, 3, H, W) in [0, 1]."""
    import torch
    from torch.nn import functional as F

    shape = (_IMAGES, 3, _IMAGE_PX, _IMAGE_PX)
    total = torch.zeros(shape)
    cells = 2
    while cells < _IMAGE_PX:
        brightness = torch.randn(_IMAGES, 1, cells, cells, generator=generator)
        colour = _COLOUR_NOISE * torch.randn(_IMAGES, 3, cells, cells, generator=generator)
        octave = F.interpolate(brightness + colour, size=shape[2:], mode="bilinear")
        total += octave / cells  # amplitude falls with the frequency
        cells *= 2
    total /= total.std((1, 2, 3), keepdim=True)
    low, high = _CONTRAST
    contrast = low + (high - low) * torch.rand(_IMAGES, 1, 1, 1, generator=generator)
    low, high = _BRIGHTNESS
    level = low + (high - low) * torch.rand(_IMAGES, 1, 1, 1, generator=generator)
    return (level + contrast * total).clamp(0, 1)
