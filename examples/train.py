"""Train a narrow TResNet-M on Fashion-MNIST; the checkpoint in the package was made by this file.

    python examples/train.py --data /usr/share/datasets/fashion-mnist --output model.safetensors
    python examples/train.py --dataset cifar10 --data FOLDER --output cifar10.safetensors

The recipe was chosen on validation images held out of the training part. `--test` measures the
test part once, at the end. On two quiet cores Fashion-MNIST takes ten to fifteen minutes, CIFAR-10
a good hour.
"""

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import cifar10
import fashion_mnist
import numpy as np
import numpy.typing as npt
import torch
from fashion_mnist import Split
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

import tresnet
from tresnet import TResNet
from tresnet.architecture import InputRule
from tresnet.layers import ActivatedNorm, NormKind
from tresnet_deploy.images.packaged import DEMO_CLASSES

IMAGE_PX: Final = 64
WIDTH_FACTOR: Final = 0.25
_EVALUATION_BATCH: Final = 250


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to train: small images first, which cost a quarter, then the size of deployment."""

    small_px: int = 32
    small_epochs: int = 6
    epochs: int = 3
    batch: int = 128
    learning_rate: float = 0.15
    momentum: float = 0.9
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    warm_up: float = 0.2
    shift_px: int = 2
    cutout_px: int = 0
    ema_decay: float = 0.0
    negative_gammas: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Where images come from, what they show, and the recipe that was found for them."""

    classes: tuple[str, ...]
    read: Callable[[Path, str], Split]
    test_part: str
    held_out: Callable[[Split], tuple[Split, Split]]
    recipe: Recipe


DATA_SETS: Final = {
    "fashion-mnist": DataSet(
        classes=DEMO_CLASSES,
        read=fashion_mnist.read,
        test_part="t10k",
        held_out=fashion_mnist.held_out,
        recipe=Recipe(),
    ),
    # Cutout and averaged weights, as TResNet was trained (arXiv 2003.13630).
    "cifar10": DataSet(
        classes=cifar10.CLASSES,
        read=cifar10.read,
        test_part="test",
        held_out=cifar10.held_out,
        recipe=Recipe(small_epochs=10, epochs=45, shift_px=4, cutout_px=8, ema_decay=0.998),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is known of a trained file; written into its metadata."""

    command: str
    seed: int
    validation_top1: float
    test_top1: float | None


def build(recipe: Recipe, *, classes: int, norm: NormKind) -> TResNet:
    """The fresh network, some of its gammas negative.

    InPlace-ABN ignores the sign of a gamma, so this changes nothing in training. It makes a file
    with which an intake that forgets the absolute value fails for all to see.
    """
    model = tresnet.create("m", width_factor=WIDTH_FACTOR, classes=classes, norm=norm)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, ActivatedNorm):
                module.weight[torch.rand(len(module.weight)) < recipe.negative_gammas] *= -1
    # A step takes a seventh less time on a CPU (measured); torch's stubs lack this form of `to`.
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def pixels(images: npt.NDArray[np.uint8]) -> Tensor:
    """Bytes (N, H, W) or (N, H, W, C) as (N, C, H, W)."""
    x = torch.from_numpy(images)
    return x.permute(0, 3, 1, 2) if images.ndim > 3 else x[:, None]  # noqa: PLR2004


def network_input(images: Tensor, image_px: int) -> Tensor:
    """Bytes (N, C, H, W) as RGB in [0, 1], resized: (N, 3, image_px, image_px)."""
    x = images.float() / 255
    x = F.interpolate(x, size=(image_px, image_px), mode="bilinear")
    return x.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def augmented(images: Tensor, recipe: Recipe) -> Tensor:
    """Each image (N, C, H, W) flipped or not, moved a little, and with a square cut out."""
    n, _, height, width = images.shape
    flip = torch.rand(n) < 0.5  # noqa: PLR2004  (a fair coin)
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    padded = F.pad(images, (recipe.shift_px,) * 4)
    down, right = torch.randint(0, 2 * recipe.shift_px + 1, (2, n))
    rows = down[:, None] + torch.arange(height)  # (N, H)
    columns = right[:, None] + torch.arange(width)  # (N, W)
    each = torch.arange(n)[:, None, None]
    moved = padded[each, :, rows[:, :, None], columns[:, None, :]]  # (N, H, W, C)
    moved = moved.permute(0, 3, 1, 2)
    return cut_out(moved, recipe.cutout_px) if recipe.cutout_px else moved


def cut_out(images: Tensor, side_px: int) -> Tensor:
    """Each image with a black square around a random pixel (arXiv 1708.04552)."""
    n, _, height, width = images.shape
    hidden = [
        (torch.arange(length) - torch.randint(0, length, (n, 1))).abs() < side_px / 2
        for length in (height, width)
    ]  # (N, H), (N, W)
    return images.masked_fill((hidden[0][:, :, None] & hidden[1][:, None, :])[:, None], 0)


def training_batches(split: Split, recipe: Recipe) -> Iterator[tuple[Tensor, Tensor]]:
    """All batches of network inputs and classes of a training, in a new order each epoch."""
    images, labels = pixels(split.images), torch.from_numpy(split.labels)
    per_epoch = len(split) // recipe.batch
    for epoch in range(recipe.small_epochs + recipe.epochs):
        image_px = recipe.small_px if epoch < recipe.small_epochs else IMAGE_PX
        order = torch.randperm(len(split))[: per_epoch * recipe.batch]
        for rows in order.reshape(per_epoch, recipe.batch):
            yield network_input(augmented(images[rows], recipe), image_px), labels[rows]


def train(model: TResNet, split: Split, recipe: Recipe, *, max_steps: int | None) -> TResNet:
    """Train by SGD with one cycle of the learning rate; weights alone decay.

    Returns the model, or the running average of its weights where the recipe has one.
    """
    weights = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]  # gammas and biases
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(
        groups,
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )
    steps = (recipe.small_epochs + recipe.epochs) * (len(split) // recipe.batch)
    if not steps:
        raise SystemExit(f"{len(split)} images do not fill a batch of {recipe.batch}: give --batch")
    steps = min(steps, max_steps or steps)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps + 1, pct_start=recipe.warm_up
    )
    loss_function = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    average = get_ema_multi_avg_fn(recipe.ema_decay)  # type: ignore[no-untyped-call]
    averaged = AveragedModel(model, multi_avg_fn=average, use_buffers=True)
    model.train()
    bar = tqdm(zip(range(steps), training_batches(split, recipe), strict=False), total=steps)
    for step, (images, labels) in bar:
        loss = loss_function(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if recipe.ema_decay:
            averaged.update_parameters(model)
        if step % 10 == 0:
            bar.set_description(f"{images.shape[-1]} px, loss {loss.item():.3f}")
    return cast("TResNet", averaged.module) if recipe.ema_decay else model


@torch.inference_mode()
def accuracy(model: nn.Module, split: Split) -> float:
    """The share of images whose top-1 class is right."""
    model.eval()
    right = 0
    for rows in tqdm(np.array_split(np.arange(len(split)), -(-len(split) // _EVALUATION_BATCH))):
        images = network_input(pixels(split.images[rows]), IMAGE_PX)
        right += int((model(images).argmax(1).numpy() == split.labels[rows]).sum())
    return right / len(split)


def save(model: TResNet, path: Path, classes: tuple[str, ...], figures: Figures) -> None:
    """Write the file that the package ships: MIIL's keys, raw gammas, and what is known of it."""
    metadata = {name: str(value) for name, value in dataclasses.asdict(figures).items()}
    tresnet.save_miil(
        model,
        path,
        class_names=classes,
        input_rule=InputRule(image_px=IMAGE_PX, resize="squish"),
        metadata=metadata,
    )


def main() -> None:
    """Train, measure, save."""
    arguments = _arguments()
    torch.manual_seed(arguments.seed)
    data = DATA_SETS[arguments.dataset]
    given = {name: getattr(arguments, name) for name in ("small_epochs", "epochs", "batch")}
    recipe = dataclasses.replace(
        data.recipe, **{name: value for name, value in given.items() if value is not None}
    )
    training, validation = data.held_out(data.read(arguments.data, "train"))
    model = build(recipe, classes=len(data.classes), norm=arguments.norm)
    began = time.monotonic()
    model = train(model, training, recipe, max_steps=arguments.steps)
    print(f"trained on {len(training)} images in {(time.monotonic() - began) / 60:.1f} minutes")
    figures = Figures(
        command=_command(arguments),
        seed=arguments.seed,
        validation_top1=accuracy(model, validation),
        test_top1=accuracy(model, data.read(arguments.data, data.test_part))
        if arguments.test
        else None,
    )
    save(model, arguments.output, data.classes, figures)
    print(f"validation top-1 {figures.validation_top1:.2%}, test top-1 {figures.test_top1 or '-'}")
    print(f"saved: {arguments.output}")


def _command(arguments: argparse.Namespace) -> str:
    """What was typed, without where files and folders lie: that is of no use elsewhere."""
    paths = {str(path): path.name for path in (arguments.data, arguments.output)}
    return f"python examples/train.py {' '.join(paths.get(word, word) for word in sys.argv[1:])}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--dataset", choices=DATA_SETS, default="fashion-mnist")
    add("--data", type=Path, required=True, help="folder of the data set's files")
    add("--output", type=Path, required=True, help="the .safetensors file to write")
    add("--seed", type=int, default=0)
    add("--small-epochs", type=int, help="at 32 px")
    add("--epochs", type=int, help="at 64 px")
    add("--batch", type=int, help="images a step")
    add("--steps", type=int, help="stop after so many batches, to try things out")
    add("--norm", choices=("batchnorm", "inplace_abn", "auto"), default="batchnorm")
    add("--test", action="store_true", help="measure the test part too, once all is decided")
    return parser.parse_args()


if __name__ == "__main__":
    main()
