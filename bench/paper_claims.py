"""Which claims of the TResNet paper hold on this machine: side by side, interleaved, medians.

    python bench/paper_claims.py [--quick] [--json FILE]

Each claim names two ways of doing the same work, the paper's and the usual one. Times are taken in
shuffled, interleaved rounds; a ratio is the median over paired rounds with its 95 % bootstrap
interval. Memory is counted, not timed: the bytes that autograd keeps for the backward pass, which
are the same on every device. The paper's own numbers are of a V100 in mixed precision (arXiv
2003.13630 and the TResNet repository's README); what only such a GPU can tell is marked so.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from resnet50 import resnet50, resnet_stem
from torch import Tensor, nn

from tresnet.layers import BlurPool2d, FastGlobalAvgPool2d, SpaceToDepth, in_place_operator
from tresnet.model import create
from tresnet_deploy.environment import describe
from tresnet_deploy.speedups import median_ratio
from tresnet_deploy.timing import QUICK, Schedule, interleaved

Work = Callable[[], object]
SCHEMA_VERSION: Final = 1
MIB: Final = 2**20
SAME: Final = 0.03  # nearer than 3 % is no difference that a shared machine can show


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What a paper says: `ours` is `claimed` times as good as `usual`, and where that was said.

    `gpu` is what a CPU cannot judge; empty when nothing is left open.
    """

    name: str
    claimed: float
    source: str
    gpu: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was measured for a claim, in `unit` (smaller is better); `low` and `high` bound `ratio`.

    The bounds are equal where the numbers were counted.
    """

    claim: Claim
    unit: str
    ours: float
    usual: float
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In words; a claim holds when the interval reaches the claimed factor, less 3 %."""
        if self.high < 1 - SAME and self.claim.claimed > self.high:
            return "does not hold here"
        if self.high >= self.claim.claimed * (1 - SAME) and self.low > 1 - SAME:
            return "holds here"
        if self.low > 1 + SAME:
            return "holds in part here"
        return "no clear difference here"


@dataclass
class Call:
    """A contestant of `interleaved`, which only calls `step`."""

    step: Work


def timed(claim: Claim, ours: Work, usual: Work, schedule: Schedule) -> Finding:
    """Milliseconds of both ways, and how many times as fast ours is."""
    print(f"timing: {claim.name}", file=sys.stderr)
    sides = interleaved((Call(ours), Call(usual)), schedule)  # type: ignore[arg-type]
    mine, theirs = (np.array([np.median(r) for r in side.rounds_ms]) for side in sides)
    ratio, interval = median_ratio(theirs / mine)
    return Finding(
        claim=claim,
        unit="ms",
        ours=float(np.median(mine)),
        usual=float(np.median(theirs)),
        ratio=ratio,
        low=interval.low,
        high=interval.high,
    )


def counted(claim: Claim, ours: float, usual: float) -> Finding:
    """MiB per image of both ways, and how many times as many images fit."""
    ratio = usual / ours
    return Finding(
        claim=claim, unit="MiB/image", ours=ours, usual=usual, ratio=ratio, low=ratio, high=ratio
    )


def kept_mib(model: nn.Module, images: Tensor) -> float:
    """MiB an image that autograd keeps for the backward pass: each storage once, no parameters."""
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
            alive.append(tensor)  # else its address could be given to the next one
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        model.train()(images)
    return sum(kept.values()) / len(images) / MIB


def inference(model: nn.Module, images: Tensor) -> Work:
    """One forward pass in evaluation."""
    model.eval()

    def step() -> object:
        with torch.inference_mode():
            return model(images)

    return step


def training(model: nn.Module, images: Tensor) -> Work:
    """One forward and backward pass, without an optimiser."""
    model.train()

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model(images).mean().backward()

    return step


def memory_findings(images: Tensor) -> Iterator[Finding]:
    """InPlace-ABN's activations, and the largest batch that follows."""
    ours = kept_mib(create("m", norm="inplace_abn"), images)
    yield counted(
        Claim(
            name="activations kept by M: InPlace-ABN against BatchNorm + in-place leaky ReLU",
            claimed=2.0,
            source="'doubles the batch': arXiv 1712.02616 and the TResNet repository",
        ),
        ours,
        kept_mib(create("m", norm="batchnorm"), images),
    )
    yield counted(
        Claim(
            name="activations kept: M with InPlace-ABN against ResNet-50",
            claimed=512 / 288,
            source="largest batches 512 and 288: README",
            gpu="the largest batch itself, with workspace and half precision",
        ),
        ours,
        kept_mib(resnet50(), images),
    )


def layer_findings(schedule: Schedule, image_px: int) -> Iterator[Finding]:
    """The parameter-free layers."""
    maps = torch.rand(64, 2048, 7, 7)
    yield timed(
        Claim(
            name="pooling 64x2048x7x7: mean against AvgPool2d",
            claimed=5.0,
            source="'up to 5 times': paper",
            gpu="the factor there; an ONNX file has one operator for both",
        ),
        inference(FastGlobalAvgPool2d(), maps),
        inference(nn.AvgPool2d(7), maps),
        schedule,
    )
    layers = (
        (SpaceToDepth, torch.rand(64, 3, image_px, image_px), 2.0, "timm issue 121"),
        (lambda: BlurPool2d(128), torch.rand(16, 128, 56, 56), 1.1, "'JIT': paper, no number"),
    )
    for make, images, claimed, source in layers:
        compiled, plain = make(), make()
        compiled.compile()
        yield timed(
            Claim(
                name=f"{type(plain).__name__} of {len(images)} images: compiled against plain",
                claimed=claimed,
                source=source,
                gpu="the factor there",
            ),
            inference(compiled, images),
            inference(plain, images),
            schedule,
        )


def network_findings(schedule: Schedule, images: Tensor) -> Iterator[Finding]:
    """Stems and whole networks, forward and backward."""
    model, resnet = create("m", norm="auto"), resnet50()
    stem, usual_stem = nn.Sequential(model.space_to_depth, model.stem), resnet_stem()
    for work in (inference, training):
        yield timed(
            Claim(
                name=f"stem, {work.__name__}: space-to-depth + 3x3 against 7x7 + max pool",
                claimed=1.1,
                source="'faster': paper, no number",
                gpu="the factor there",
            ),
            work(stem, images),
            work(usual_stem, images),
            schedule,
        )
    for work, ours, usual in ((inference, 2930, 2830), (training, 730, 805)):
        yield timed(
            Claim(
                name=f"whole network, {work.__name__}, batch {len(images)}: M against ResNet-50",
                claimed=ours / usual,
                source=f"{ours} against {usual} img/s: README",
                gpu="these img/s; a CPU's time follows the MACs, 5.7 G against 4.1 G",
            ),
            work(model, images),
            work(resnet, images),
            schedule,
        )


def in_place_finding(schedule: Schedule, images: Tensor) -> Finding:
    """The price of InPlace-ABN."""
    return timed(
        Claim(
            name=f"training M, batch {len(images)}: InPlace-ABN against BatchNorm",
            claimed=0.98,
            source="0.8 to 2 % slower: arXiv 1712.02616",
            gpu="its price there, where its kernels are fused and parallel",
        ),
        training(create("m", norm="inplace_abn"), images),
        training(create("m", norm="batchnorm"), images),
        schedule,
    )


def findings(schedule: Schedule, batch: int, image_px: int) -> Iterator[Finding]:
    """All of them, as they come."""
    images = torch.rand(batch, 3, image_px, image_px)
    if in_place_operator("auto") is not None:
        yield from memory_findings(images)
        yield in_place_finding(schedule, images)
    else:
        print("inplace-abn is not installed, so its claims are left out: make abn", file=sys.stderr)
    yield from layer_findings(schedule, image_px)
    yield from network_findings(schedule, images)


def paragraph(finding: Finding) -> str:
    """The verdict first, then what it rests on."""
    claim, indent = finding.claim, " " * 26
    interval = "" if finding.low == finding.high else f" ({finding.low:.2f} to {finding.high:.2f})"
    lines = [
        f"{finding.verdict:<26}{claim.name}",
        f"{indent}{finding.ours:.4g} against {finding.usual:.4g} {finding.unit}: "
        f"{finding.ratio:.2f} times{interval}; claimed {claim.claimed:.2f} ({claim.source})",
    ]
    if claim.gpu:
        lines.append(f"{indent}needs a GPU: {claim.gpu}")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="some minutes, a first impression")
    parser.add_argument("--batch", type=int, default=4, help="images in a step of whole networks")
    parser.add_argument("--image-size", type=int, default=224, help="pixels")
    parser.add_argument("--json", type=Path, help="also write everything to this file")
    options = parser.parse_args()
    schedule = QUICK if options.quick else Schedule(rounds=9)
    environment = {**describe(), "threads": str(torch.get_num_threads())}
    rows = []
    for finding in findings(schedule, options.batch, options.image_size):
        print(paragraph(finding), flush=True)
        rows.append({**dataclasses.asdict(finding), "verdict": finding.verdict})
    print("\n" + "\n".join(f"{name}: {value}" for name, value in environment.items()))
    if options.json:
        report = {"schema_version": SCHEMA_VERSION, "findings": rows, "environment": environment}
        options.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
