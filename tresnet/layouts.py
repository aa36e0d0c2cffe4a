"""The key layouts of published checkpoints: this file is about their names for our tensors.

"miil" is the layout of the TResNet, ASL, ML_Decoder, ImageNet21K and ML-Danbooru repositories, and
of timm up to 0.8; "timm" is timm's from 0.9 on. In the first, `conv1.1` is the norm of an ordinary
block but the blur of a block that halves its map, whose convolution and norm sit one level deeper.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor

from .architecture import Architecture

Layout = Literal["miil", "timm"]

STEM_KEYS: Final[Mapping[str, Layout]] = {
    "body.conv1.0.weight": "miil",
    "body.conv1.conv.weight": "timm",
}
"""The one key that each layout always has; whatever stands before it is a wrapper's prefix."""

_BLOCK: Final = r"(layer[1-4]\.[0-9]+)"
_NORM: Final = r"(weight|bias|running_mean|running_var)"
_DEPTHWISE: Final = r"depthwise_conv_bn"

_UNITS: Final = (  # a convolution with what follows it, wherever it stands
    (r"body\.conv1\.", r"stem."),
    (rf"body\.{_BLOCK}\.(conv[1-3])\.", r"\1.\2."),
    (rf"body\.{_BLOCK}\.downsample\.[01]\.", r"\1.shortcut.project."),
)
_INSIDE: Final[Mapping[Layout, tuple[tuple[str, str], ...]]] = {
    "miil": (
        (r"(?:0\.)?0\.weight", "conv.weight"),
        (rf"(?:0\.)?1\.(?:bn\.)?{_NORM}", r"norm.\1"),
        (rf"(?:0\.)?2\.{_DEPTHWISE}\.0\.weight", "activation.conv.weight"),
        (rf"(?:0\.)?2\.{_DEPTHWISE}\.1\.{_NORM}", r"activation.norm.\1"),
    ),
    "timm": (
        (r"conv\.weight", "conv.weight"),
        (rf"bn\.{_NORM}", r"norm.\1"),
    ),
}
_ELSEWHERE: Final = (
    (rf"body\.{_BLOCK}\.se\.(fc[12])\.(weight|bias)", r"\1.se.\2.\3"),
    (rf"body\.{_BLOCK}\.relu\.{_DEPTHWISE}\.0\.weight", r"\1.activation.conv.weight"),
    (rf"body\.{_BLOCK}\.relu\.{_DEPTHWISE}\.1\.{_NORM}", r"\1.activation.norm.\2"),
    (r"head\.fc\.(weight|bias)", r"head.fc.\1"),
    (r"head\.fc\.embedding_generator\.0\.(weight|bias)", r"head.embedding.\1"),
    (r"head\.fc\.FC\.(weight|bias)", r"head.fc.\1"),
)
_DECODER_PARTS: Final[Mapping[str, str]] = {  # theirs, below head.decoder. -> ours, below head.
    "embed_standart.": "embed.",
    "query_embed.weight": "queries.embedding",
    "duplicate_pooling": "group_weight",
    "duplicate_pooling_bias": "group_bias",
    "layers.0.norm1.": "queries.norm.",
    "layers.0.multihead_attn.out_proj.": "attended.",
    "layers.0.norm2.": "attention_norm.",
    "layers.0.linear1.": "expand.",
    "layers.0.linear2.": "contract.",
    "layers.0.norm3.": "output_norm.",
}
_XFORMERS_PARTS: Final[Mapping[str, str]] = {  # written by xformers' attention instead of torch's
    "layers.0.multihead_attn.proj.": "attended.",
    "layers.0.multihead_attn.in_proj_container.q_proj.": "queries.project.",
    "layers.0.multihead_attn.in_proj_container.k_proj.": "key.",
    "layers.0.multihead_attn.in_proj_container.v_proj.": "value.",
}
_IN_PROJECTION: Final = re.compile(r"layers\.0\.multihead_attn\.in_proj_(weight|bias)")
_PROJECTIONS: Final = ("queries.project", "key", "value")  # rows of torch's in_proj, in order

# The blur is a constant, the counter only serves norms without momentum, and self_attn is a dummy
# that people add because torch 2 reads that attribute of a decoder layer.
_IGNORED: Final = re.compile(
    r".*\.op\.filt|.*\.num_batches_tracked|head\.(?:decoder\.)?layers\.0\.self_attn\..*"
)
_PLAIN_NORM: Final = re.compile(rf".*\.{_DEPTHWISE}\..*|body\..*\.1\.bn\.weight")


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """A state dict under our names.

    `origin` maps each of our names to the file's; `ignored` and `unknown` are the file's names.
    """

    tensors: Mapping[str, Tensor]
    origin: Mapping[str, str]
    ignored: tuple[str, ...]
    unknown: tuple[str, ...]


def translate(state: Mapping[str, Tensor], layout: Layout) -> Translation:
    """All tensors of `state` (prefix removed) under our names."""
    tensors: dict[str, Tensor] = {}
    origin: dict[str, str] = {}
    ignored: list[str] = []
    unknown: list[str] = []
    for key, tensor in state.items():
        if _IGNORED.fullmatch(key):
            ignored.append(key)
            continue
        ours = dict(_our_tensors(key, tensor, layout))
        if not ours or ours.keys() & tensors.keys():  # a second name for one tensor fits neither
            unknown.append(key)
            continue
        tensors.update(ours)
        origin.update(dict.fromkeys(ours, key))
    return Translation(
        tensors=tensors, origin=origin, ignored=tuple(ignored), unknown=tuple(unknown)
    )


def has_plain_norm(state: Mapping[str, Tensor]) -> str | None:
    """A key which proves that the gammas of a miil file are plain BatchNorm's, or None."""
    return next((key for key in state if _PLAIN_NORM.fullmatch(key)), None)


def _our_tensors(key: str, tensor: Tensor, layout: Layout) -> Iterator[tuple[str, Tensor]]:
    """Our name and tensor for one of the file's; three for a joined projection, none if unknown."""
    for pattern, unit in _UNITS:
        if match := re.match(pattern, key):
            for inside, ours in _INSIDE[layout]:
                if found := re.fullmatch(inside, key[match.end() :]):
                    yield match.expand(unit) + found.expand(ours), tensor
                    return
    for pattern, ours in _ELSEWHERE:
        if match := re.fullmatch(pattern, key):
            yield match.expand(ours), tensor
            return
    yield from _decoder_tensors(key, tensor)


def _decoder_tensors(key: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """The same for the ML-Decoder; timm keeps some of its tensors directly under `head.`."""
    if not key.startswith("head."):
        return
    part = key.removeprefix("head.").removeprefix("decoder.")
    if match := _IN_PROJECTION.fullmatch(part):
        if tensor.ndim and tensor.shape[0] % len(_PROJECTIONS) == 0:
            for name, rows in zip(_PROJECTIONS, tensor.chunk(len(_PROJECTIONS)), strict=True):
                yield f"head.{name}.{match[1]}", rows
        return
    for theirs, ours in {**_DECODER_PARTS, **_XFORMERS_PARTS}.items():
        if part == theirs:
            yield f"head.{ours}", tensor
        elif theirs.endswith(".") and part in (f"{theirs}weight", f"{theirs}bias"):
            yield f"head.{ours}{part.removeprefix(theirs)}", tensor


def file_key(key: str, architecture: Architecture, layout: Layout) -> str:
    """The name that a file of this layout gives to our tensor `key`."""
    if key.startswith("head."):
        return _head_file_key(key.removeprefix("head."), architecture)
    if key.startswith("stem."):
        return f"body.conv1.{_unit_file_key(key.removeprefix('stem.'), layout)}"
    layer, block, part, rest = key.split(".", 3)
    place = f"body.{layer}.{block}"
    halves = block == "0" and layer != "layer1"
    if part == "se":
        return f"{place}.se.{rest}"
    if part == "activation":
        return f"{place}.relu.{_frelu_file_key(rest)}"
    if part == "shortcut":
        inside = _unit_file_key(rest.removeprefix("project."), layout)
        return f"{place}.downsample.{int(halves)}.{inside}"
    basic = architecture.family == "v1" and layer in ("layer1", "layer2")
    blurred = "conv1" if basic else "conv2"
    nested = "0." if layout == "miil" and halves and part == blurred else ""
    return f"{place}.{part}.{nested}{_unit_file_key(rest, layout)}"


def _unit_file_key(rest: str, layout: Layout) -> str:
    if rest.startswith("activation."):
        return f"2.{_frelu_file_key(rest.removeprefix('activation.'))}"
    part, name = rest.split(".", 1)
    if layout == "timm":
        return f"{'bn' if part == 'norm' else part}.{name}"
    return f"{int(part == 'norm')}.{name}"


def _frelu_file_key(rest: str) -> str:
    part, name = rest.split(".", 1)
    return f"{_DEPTHWISE}.{int(part == 'norm')}.{name}"


def _head_file_key(part: str, architecture: Architecture) -> str:
    if architecture.head.kind == "linear":
        return f"head.{part}"
    if architecture.head.kind == "bottleneck":
        part = part.replace("fc.", "FC.").replace("embedding.", "embedding_generator.0.")
        return f"head.fc.{part}"
    for theirs, ours in _DECODER_PARTS.items():
        if part == ours or (ours.endswith(".") and part.startswith(ours)):
            return f"head.decoder.{theirs}{part.removeprefix(ours)}"
    return f"head.decoder.layers.0.multihead_attn.in_proj_{part.rsplit('.', 1)[1]}"
