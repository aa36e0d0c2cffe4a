"""Saving weights: this file is about `save_miil`, the writer of the official layout."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from .architecture import InputRule
from .errors import CheckpointError, CheckpointFileError
from .layers import ActivatedNorm
from .layouts import file_key
from .metadata import Notes, write_notes
from .model import TResNet


def save_miil(
    model: TResNet,
    path: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    input_rule: InputRule | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the network as safetensors in the MIIL layout, gammas as they are stored.

    That is the layout of the official repositories, whose readers take |gamma| + 1e-5. Class names,
    input rule, slopes and the kind of gammas go into the metadata, where `load` finds them; a
    network with plain gammas can be saved too, but only `load` knows that they are plain. The file
    appears whole or not at all.

    Raises:
        CheckpointError: a deployed network, or a wrong number of class names.
        CheckpointFileError: the file cannot be written.
    """
    path = Path(path)
    if not isinstance(model.stem.norm, ActivatedNorm):
        raise CheckpointError(
            "the network is in deploy form, its norms are folded away: save the one it was made of"
        )
    classes = model.architecture.head.classes
    if class_names is not None and len(class_names) != classes:
        raise CheckpointError(f"{len(class_names)} class names for a network of {classes} classes")
    notes = Notes(
        class_names=None if class_names is None else tuple(class_names),
        input_rule=input_rule,
        slopes=model.architecture.slopes,
        gammas=model.gammas,
    )
    content = safetensors.torch.save(miil_state(model), write_notes(notes, metadata or {}))
    _write_whole(path, content)


def miil_state(model: TResNet) -> dict[str, Tensor]:
    """The state dict under the official names, on the CPU, without batch counters."""
    parts: dict[str, list[Tensor]] = {}
    for key, tensor in model.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            name = file_key(key, model.architecture, "miil")
            parts.setdefault(name, []).append(tensor.detach().cpu())
    # The decoder's query, key and value projections, in this order, are one tensor in the file.
    return {name: torch.cat(tensors).contiguous() for name, tensors in parts.items()}


def _write_whole(path: Path, content: bytes) -> None:
    """Write under another name and rename, so that a killed process leaves no half file."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise CheckpointFileError(f"cannot write {path}: {error.strerror or error}") from error
