"""Architecture from tensor shapes: this file is about what a state dict says of its network.

The names of files and functions are not asked: "tresnet_l" is two different networks in the wild.
"""

import re
from collections.abc import Mapping
from typing import Final

from .architecture import SPACE_TO_DEPTH_BLOCK, Architecture, Family, Head
from .errors import ArchitectureError, CheckpointMismatchError

_STAGES: Final = 4
_BLOCK_KEY: Final = re.compile(r"layer([1-4])\.([0-9]{1,9})\.")

Shapes = Mapping[str, tuple[int, ...]]


def infer_architecture(shapes: Shapes) -> Architecture:
    """The network whose tensors have these shapes, under our names; its slopes are the usual ones.

    Raises:
        CheckpointMismatchError: the shapes are of no TResNet, or head or blocks are missing.
    """
    width, stem_channels, *_ = _shape(shapes, "stem.conv.weight", 4)
    depths = _depths(shapes)
    family: Family = "v2" if "layer1.0.conv3.conv.weight" in shapes else "v1"
    try:
        return Architecture(
            width=width,
            depths=depths,
            family=family,
            activation="frelu" if "stem.activation.conv.weight" in shapes else "leaky",
            in_channels=stem_channels // SPACE_TO_DEPTH_BLOCK**2,
            head=_head(shapes),
        )
    except ArchitectureError as error:
        raise CheckpointMismatchError(f"the shapes in the file fit no TResNet: {error}") from error


def _depths(shapes: Shapes) -> tuple[int, int, int, int]:
    blocks: list[set[int]] = [set() for _ in range(_STAGES)]
    for key in shapes:
        if match := _BLOCK_KEY.match(key):
            blocks[int(match[1]) - 1].add(int(match[2]))
    for number, found in enumerate(blocks, start=1):
        # Counting up to the largest index would let one forged key build a billion blocks.
        missing = next(index for index in range(len(found) + 1) if index not in found)
        if not found or missing < len(found):
            raise CheckpointMismatchError(
                f"block body.layer{number}.{missing} is missing: the file is incomplete, "
                "save the network's whole state_dict() again"
            )
    first, second, third, fourth = (len(found) for found in blocks)
    return first, second, third, fourth


def _head(shapes: Shapes) -> Head:
    if "head.group_weight" in shapes:
        groups, embedding, factor = _shape(shapes, "head.group_weight", 3)
        (classes,) = _shape(shapes, "head.group_bias", 1)
        hidden, _ = _shape(shapes, "head.expand.weight", 2)
        return Head(
            kind="ml_decoder",
            classes=classes,
            groups=groups,
            embedding=embedding,
            factor=factor,
            hidden=hidden,
        )
    if not any(key.startswith("head.") for key in shapes):
        raise CheckpointMismatchError(
            "the file holds a TResNet body without a classifier (a pre-training checkpoint, or the "
            "backbone of another network such as Query2Label): fine-tune it first, or give a "
            "checkpoint with its head"
        )
    classes, _ = _shape(shapes, "head.fc.weight", 2)
    if "head.embedding.weight" in shapes:
        bottleneck, _ = _shape(shapes, "head.embedding.weight", 2)
        return Head.with_bottleneck(classes, bottleneck=bottleneck)
    return Head.linear(classes)


def _shape(shapes: Shapes, key: str, dimensions: int) -> tuple[int, ...]:
    shape = shapes.get(key, ())
    if len(shape) != dimensions:
        raise CheckpointMismatchError(
            f"tensor {key} must have {dimensions} dimensions, but "
            + (f"has the shape {shape}" if key in shapes else "the file has none")
        )
    return shape
