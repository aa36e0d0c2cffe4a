"""What our TensorRT plugins can gain at most, on paper: bytes moved, and the time that they take.

    python bench/roofline.py [--markdown]

Nothing is measured. A map that is padded and then convolved crosses the memory four times: read,
padded copy written, copy read, result written; the fused kernel reads and writes once. The time is
that of the saved bytes at the card's full memory bandwidth, so it is what fusion gains if the maps
come from memory; maps smaller than the L2 cache mostly do not, and then less is gained. The share
is of the bytes that the network must move anyway: each convolution's input, weights and output.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from tresnet import create
from tresnet.architecture import SPACE_TO_DEPTH_BLOCK
from tresnet.layers import BlurPool2d, SpaceToDepth

VARIANTS: Final = ("m", "l")
BATCHES: Final = (1, 8, 64)
DOCUMENT_BATCH: Final = 8
ELEMENT_BYTES: Final = {"FP32": 4, "FP16": 2}
IMAGE_PX: Final = 224
MEGA: Final = 1e6


@dataclass(frozen=True, kw_only=True)
class Card:
    """A GPU: bandwidth in GB/s, L2 cache in MB, and where the maker says so."""

    name: str
    bandwidth_gb_s: float
    l2_mb: float
    source: str


CARDS: Final = (
    Card(
        name="A100 80GB SXM",
        bandwidth_gb_s=2039,
        l2_mb=40,
        source="NVIDIA A100 Tensor Core GPU datasheet; A100 architecture whitepaper for L2",
    ),
    Card(
        name="H100 SXM",
        bandwidth_gb_s=3350,
        l2_mb=50,
        source="NVIDIA H100 Tensor Core GPU datasheet; Hopper architecture whitepaper for L2",
    ),
    Card(
        name="RTX 4090",
        bandwidth_gb_s=1008,
        l2_mb=72,
        source="NVIDIA Ada GPU architecture whitepaper",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operator for one image: elements moved by standard operators, and by our kernel."""

    name: str
    shape: tuple[int, int, int]
    portable: int
    fused: int

    @property
    def saved(self) -> int:
        """Elements that the kernel does not move."""
        return self.portable - self.fused


@dataclass(frozen=True, kw_only=True)
class Network:
    """A variant: its plugin steps, elements of activations per image, and weights."""

    name: str
    steps: tuple[Step, ...]
    activations: int
    weights: int

    def megabytes(self, batch: int, element_bytes: int) -> float:
        """What its convolutions must read and write at least."""
        return (batch * self.activations + self.weights) * element_bytes / MEGA

    def saved_megabytes(self, batch: int, element_bytes: int) -> float:
        """What all plugins together do not move."""
        return batch * sum(step.saved for step in self.steps) * element_bytes / MEGA


def network(name: str) -> Network:
    """Trace a variant on the meta device, which computes shapes only."""
    with torch.device("meta"):
        model = create(name, norm="batchnorm").eval()
    steps: list[Step] = []
    sizes = {"activations": 0, "weights": 0}

    def look(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, (SpaceToDepth, BlurPool2d)):
            steps.append(step_of(module, inputs[0], len(steps)))
        else:
            sizes["activations"] += inputs[0].numel() + output.numel()
            sizes["weights"] += sum(each.numel() for each in module.parameters())

    for module in model.modules():
        if isinstance(module, (SpaceToDepth, BlurPool2d, nn.Conv2d, nn.Linear)):
            module.register_forward_hook(look)
    model(torch.empty(1, 3, IMAGE_PX, IMAGE_PX, device="meta"))
    return Network(name=f"TResNet-{name.upper()}", steps=tuple(steps), **sizes)


def step_of(module: nn.Module, x: Tensor, number: int) -> Step:
    """Count the elements that one operator moves for one image."""
    _, c, h, w = x.shape
    if isinstance(module, SpaceToDepth):
        # One native node: it reads and writes once, as our kernel does.
        assert h % SPACE_TO_DEPTH_BLOCK == 0
        both = 2 * c * h * w
        return Step(name="stem, SpaceToDepth", shape=(c, h, w), portable=both, fused=both)
    read, written = c * h * w, c * -(-h // 2) * -(-w // 2)
    padded = c * (h + 2) * (w + 2)
    return Step(
        name=f"stage {number + 1}, blur",
        shape=(c, h, w),
        portable=read + 2 * padded + written,
        fused=read + written,
    )


def step_rows(found: Network, batches: tuple[int, ...]) -> Iterator[list[str]]:
    """One row an operator, type and batch."""
    for step in found.steps:
        for name, size in ELEMENT_BYTES.items():
            for batch in batches:
                saved = batch * step.saved * size
                times = [f"{saved / card.bandwidth_gb_s / 1e3:.2f}" for card in CARDS]
                sides = f"{step.shape[0]} x {step.shape[1]} x {step.shape[2]}"
                moved = [
                    f"{batch * each * size / MEGA:.2f}" for each in (step.portable, step.fused)
                ]
                yield [found.name, step.name, sides, name, str(batch), *moved, *times]


def total_rows(found: Network) -> Iterator[list[str]]:
    """One row a batch and type: all plugins of a network against all that it moves."""
    for name, size in ELEMENT_BYTES.items():
        for batch in BATCHES:
            whole, saved = found.megabytes(batch, size), found.saved_megabytes(batch, size)
            times = [f"{saved / card.bandwidth_gb_s * 1e3:.1f}" for card in CARDS]
            share = f"{100 * saved / (whole + saved):.1f} %"
            yield [found.name, name, str(batch), f"{whole:.0f}", f"{saved:.1f}", share, *times]


def table(head: list[str], rows: list[list[str]], *, markdown: bool) -> str:
    """Return rows under a head, for a terminal or for a document."""
    if markdown:
        lines = [head, ["---"] * len(head), *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (head, *rows)
    )


def report(*, markdown: bool) -> str:
    """Return both tables; a document shows single operators at one batch only."""
    networks = [network(name) for name in VARIANTS]
    cards = [f"{card.name}, us" for card in CARDS]
    steps = ["network", "operator", "input", "type", "batch", "Pad + Conv, MB", "fused, MB", *cards]
    totals = ["network", "type", "batch", "network, MB", "saved, MB", "share at most", *cards]
    batches = (DOCUMENT_BATCH,) if markdown else BATCHES
    in_all = [row for each in networks for row in total_rows(each)]
    by_step = [row for each in networks for row in step_rows(each, batches)]
    both = ((totals, in_all), (steps, by_step))
    return "\n\n".join(table(head, rows, markdown=markdown) for head, rows in both)


def main() -> None:
    """Print the tables and their sources."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--markdown", action="store_true", help="as in docs/plugins.md")
    print(report(markdown=parser.parse_args().markdown))
    print()
    for card in CARDS:
        print(
            f"{card.name}: {card.bandwidth_gb_s:.0f} GB/s, L2 {card.l2_mb:.0f} MB ({card.source})"
        )


if __name__ == "__main__":
    main()
