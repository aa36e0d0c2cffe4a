"""Loading weights: this file is about turning any known checkpoint into a `TResNet`.

Reading is `files`, finding the state dict `wrappers`, naming tensors `layouts`, recognising the
network `inference`, what tensors do not tell `sources` and `metadata`; here they are joined.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import torch

from .architecture import Architecture, InputRule, Slopes
from .errors import CheckpointError, CheckpointMismatchError
from .files import CheckpointFile, read_checkpoint
from .inference import infer_architecture
from .layers import Gammas, NormKind, in_place_operator
from .layouts import Layout, Translation, has_plain_norm, translate
from .metadata import Notes, read_notes
from .model import TResNet
from .saving import save_miil
from .sources import guess_input_rule, guess_slopes, hub_class_names, hub_input_rule
from .tensors import fill_model
from .variants import find
from .wrappers import StateDict, find_state_dict

__all__ = ["Checkpoint", "load", "load_state", "save_miil"]

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A loaded network and everything that was found out or decided on the way.

    `model` is float32, in evaluation mode, and holds the file's weights unchanged: where `gammas`
    is "absolute", its norms apply |weight| + 1e-5 themselves. Each `..._reason` is for people.
    `sha256` and `path` are None for a state dict that came from memory.
    """

    model: TResNet
    architecture: Architecture
    layout: Layout
    gammas: Gammas
    gammas_reason: str
    slopes_reason: str
    wrapper: str
    prefix: str
    ignored: tuple[str, ...]
    class_names: tuple[str, ...] | None
    input_rule: InputRule
    input_reason: str
    sha256: str | None = None
    path: Path | None = None


def load(
    path: str | Path,
    *,
    gammas: Literal["auto", "absolute", "plain"] = "auto",
    slopes: Slopes | None = None,
    trust_pickle: bool = False,
    input_rule: InputRule | None = None,
    norm: NormKind = "auto",
    averaged: bool = True,
    variant: str | None = None,
    classes: int | None = None,
) -> Checkpoint:
    """The network in a checkpoint file, or in a timm hub folder.

    Args:
        path: safetensors, a file of torch.save, or a folder with model.safetensors and config.json.
        gammas: "absolute" or "plain" overrides what the layout says about the norm's weights.
        slopes: overrides the leaky slopes looked up for the file.
        trust_pickle: also load a pickle that runs code, on the caller's responsibility.
        input_rule: overrides how images are prepared.
        norm: what the network trains with, as in `create`.
        averaged: take the moving average ("ema") where the file holds it beside the last weights.
        variant: refuse any other network body than this row of the table.
        classes: refuse any other number of outputs.

    Raises:
        CheckpointError: see `tresnet.errors` for the tree; messages name the remedy.
        UnknownVariantError: `variant` is no row of the table.
    """
    file = read_checkpoint(Path(path), trust_pickle=trust_pickle)
    try:
        checkpoint = load_state(
            file.content,
            gammas=gammas,
            slopes=slopes,
            input_rule=input_rule,
            norm=norm,
            averaged=averaged,
            variant=variant,
            classes=classes,
            notes=_notes(file),
        )
    except CheckpointError as error:
        raise type(error)(f"{file.path}: {error}") from error
    return dataclasses.replace(checkpoint, sha256=file.sha256, path=file.path)


def load_state(
    content: Mapping[str, object],
    *,
    gammas: Literal["auto", "absolute", "plain"] = "auto",
    slopes: Slopes | None = None,
    input_rule: InputRule | None = None,
    norm: NormKind = "auto",
    averaged: bool = True,
    variant: str | None = None,
    classes: int | None = None,
    notes: Notes | None = None,
) -> Checkpoint:
    """The network in a state dict, or in a mapping that wraps one; options as for `load`.

    `notes` are what the file said beside its tensors; an explicit option goes before them.
    """
    notes = notes or Notes()
    state = find_state_dict(content, averaged=averaged)
    translation = translate(state.tensors, state.layout)
    architecture = _infer(translation)
    architecture, slopes_reason = _with_slopes(architecture, state.layout, slopes, notes)
    _check_expected(architecture, variant, classes)
    kind, gammas_reason = _decide_gammas(gammas, state, notes)
    model = _build(architecture, kind, norm)
    fill_model(model, translation, state.layout)
    rule, input_reason = _first(
        (input_rule, "as asked for"),
        (notes.input_rule, notes.source),
        guess_input_rule(architecture),
    )
    return Checkpoint(
        model=model.eval(),
        architecture=architecture,
        layout=state.layout,
        gammas=kind,
        gammas_reason=gammas_reason,
        slopes_reason=slopes_reason,
        wrapper=state.wrapper,
        prefix=state.prefix,
        ignored=(*state.ignored, *translation.ignored),
        class_names=_class_names(architecture, notes.class_names or state.class_names),
        input_rule=rule,
        input_reason=input_reason,
    )


def _build(architecture: Architecture, gammas: Gammas, norm: NormKind) -> TResNet:
    """The network without memory for its tensors, which come from the file."""
    if gammas == "plain" and norm == "auto":
        norm = "batchnorm"
    with torch.device("meta"):
        return TResNet(architecture, gammas=gammas, operator=in_place_operator(norm))


def _first(*answers: tuple[_Answer | None, str]) -> tuple[_Answer, str]:
    """The first answer that is not None, with its reason."""
    for answer, reason in answers:
        if answer is not None:
            return answer, reason
    raise AssertionError("the last answer is always given")


def _notes(file: CheckpointFile) -> Notes:
    """What metadata or config.json say; a hub folder has the one or the other."""
    notes = read_notes(file.metadata)
    if file.config is None:
        return notes
    return dataclasses.replace(
        notes,
        class_names=notes.class_names or hub_class_names(file.config),
        input_rule=notes.input_rule or hub_input_rule(file.config, file.path),
        source=notes.source if notes.input_rule else "as config.json beside the weights says",
    )


def _infer(translation: Translation) -> Architecture:
    shapes = {key: tuple(tensor.shape) for key, tensor in translation.tensors.items()}
    try:
        return infer_architecture(shapes)
    except CheckpointMismatchError as error:
        if not translation.unknown:
            raise
        raise CheckpointMismatchError(
            f"{error}. It holds {len(translation.unknown)} keys that no TResNet has, the first is "
            f"{translation.unknown[0]}"
        ) from error


def _with_slopes(
    architecture: Architecture, layout: Layout, asked: Slopes | None, notes: Notes
) -> tuple[Architecture, str]:
    slopes, reason = _first(
        (asked, "as asked for"),
        (notes.slopes, "as the file's metadata says"),
        guess_slopes(architecture, layout),
    )
    return dataclasses.replace(architecture, slopes=slopes), reason


def _check_expected(architecture: Architecture, variant: str | None, classes: int | None) -> None:
    """Refuse another body or class count than the caller expects."""
    if variant is not None and not (wanted := find(variant)).matches(architecture):
        raise CheckpointMismatchError(
            f"these are the weights of {architecture.summary}, not of {wanted.name}: "
            "leave the variant out, or give another file"
        )
    if classes not in (None, architecture.head.classes):
        raise CheckpointMismatchError(
            f"these are the weights of {architecture.summary}, not of one with {classes} classes: "
            "give the checkpoint that was fine-tuned on them"
        )


def _decide_gammas(
    asked: Literal["auto", "absolute", "plain"], state: StateDict, notes: Notes
) -> tuple[Gammas, str]:
    """Whether the norm's stored weights are InPlace-ABN's or BatchNorm's, and why."""
    if asked != "auto":
        return asked, "as asked for"
    if notes.gammas is not None:
        return notes.gammas, "as the file's metadata says"
    if state.layout == "timm":
        return "plain", "timm's layout holds plain BatchNorm"
    if (key := has_plain_norm(state.tensors)) is not None:
        return "plain", f"{key} only exists in networks with plain BatchNorm"
    return "absolute", (
        "the MIIL layout holds raw InPlace-ABN gammas, used as |weight| + 1e-5; a fork that "
        "trained with BatchNorm has the same keys and needs gammas='plain'"
    )


def _class_names(
    architecture: Architecture, names: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    if names is not None and len(names) != architecture.head.classes:
        raise CheckpointMismatchError(
            f"the file names {len(names)} classes, but it holds {architecture.summary}: "
            "remove its class names, or give the checkpoint that they belong to"
        )
    return names
