"""What ``export`` prints for people: the choices that were made, and the proof."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tresnet_deploy.cli._inspection_text import facts
from tresnet_deploy.contracts import Artifact, Preprocess, TensorSpec

if TYPE_CHECKING:
    from tresnet.checkpoint import Checkpoint

_MIB = 2**20
_SHOWN_NAMES = 3
_SHOWN_HASH = 12


def text(checkpoint: Checkpoint, artifact: Artifact) -> str:
    """Return the settings block, the check's figures and the file."""
    size_mib = artifact.path.stat().st_size / _MIB
    lines = facts(_settings(checkpoint, artifact))
    return f"{lines}\n\nsaved: {artifact.path} ({size_mib:.1f} MiB)"


def _settings(checkpoint: Checkpoint, artifact: Artifact) -> Iterable[tuple[str, str]]:
    head, slopes = checkpoint.architecture.head, checkpoint.architecture.slopes
    yield "network", f"{artifact.architecture}, {head.kind.replace('_', '-')} head"
    yield "weights", _weights(artifact)
    yield "layout", f"{checkpoint.layout}, {checkpoint.wrapper}"
    yield "gammas", f"{checkpoint.gammas}: {checkpoint.gammas_reason}"
    yield "slopes", f"stem {slopes.stem:g}, blocks {slopes.block:g}: {checkpoint.slopes_reason}"
    yield "images", f"{_images(artifact.preprocess)}: {checkpoint.input_reason}"
    yield "classes", _classes(artifact)
    yield "graph", _graph(artifact)
    yield "check", artifact.verified or ""


def _weights(artifact: Artifact) -> str:
    source = artifact.source
    if source.kind == "random":
        return f"random, seed {source.seed}"
    name = source.location
    if source.kind == "published":
        name = f"published, {source.variant}.{source.location}"
    return f"{name} (sha256 {source.sha256[:_SHOWN_HASH]}...)"


def _images(preprocess: Preprocess) -> str:
    size = f"{preprocess.height_px}x{preprocess.width_px} px"
    crop = f" {preprocess.crop_pct:.3g}" if preprocess.resize == "crop" else ""
    plain = not any(preprocess.mean) and set(preprocess.std) == {1.0}
    values = "[0, 1]" if plain else f"mean {preprocess.mean}, std {preprocess.std}"
    place = " in the graph" if preprocess.normalize_in_graph and not plain else ""
    return f"{size}, {preprocess.resize}{crop}, {preprocess.interpolation}, RGB {values}{place}"


def _classes(artifact: Artifact) -> str:
    labels = artifact.labels
    names = ", ".join(labels.names[:_SHOWN_NAMES])
    more = ", ..." if len(labels.names) > _SHOWN_NAMES else ""
    named = f"({names}{more})" if names else "(the checkpoint names none)"
    kind = "several for each image" if labels.multi_label else "one for each image"
    return f"{labels.classes}, {kind} {named}"


def _graph(artifact: Artifact) -> str:
    shapes = " -> ".join(
        ", ".join(_tensor(spec) for spec in specs) for specs in (artifact.inputs, artifact.outputs)
    )
    settings = artifact.settings
    padded = ", channels padded" if settings["pad_channels"] else ""
    return f"{shapes}, opset {settings['opset']}, operators {settings['operators']}{padded}"


def _tensor(spec: TensorSpec) -> str:
    return f"{spec.name} {spec.dtype} ({', '.join(str(size) for size in spec.shape)})"
