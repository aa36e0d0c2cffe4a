"""Fitting tensors into a network: this file is about refusing every tensor that does not belong.

Nothing is skipped in silence: a missing, unknown, misshapen or non-finite tensor is an error.
"""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import Tensor

from .architecture import Architecture
from .errors import CheckpointFileError, CheckpointMismatchError, NonFiniteWeightsError
from .layouts import Layout, Translation, file_key
from .model import TResNet

_SHOWN: Final = 4  # keys per kind of misfit in a message
_COUNTER: Final = "num_batches_tracked"


def fill_model(model: TResNet, translation: Translation, layout: Layout) -> None:
    """Give a network built on the meta device the translated tensors, as float32 copies.

    Raises:
        CheckpointMismatchError: keys or shapes do not fit.
        CheckpointFileError: a tensor is no plain array of floats.
        NonFiniteWeightsError: NaN, infinity or a negative variance.
    """
    expected = model.state_dict()
    check_fit(model.architecture, _shapes(expected), translation, layout)
    state = {key: _as_float32(key, tensor) for key, tensor in translation.tensors.items()}
    _check_values(state, translation.origin)
    for key, tensor in expected.items():
        if key.endswith(_COUNTER):
            state[key] = torch.zeros((), dtype=tensor.dtype)
    model.load_state_dict(state, assign=True)
    model.reset_constants()


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(t.shape) for key, t in tensors.items() if not key.endswith(_COUNTER)}


def check_fit(
    architecture: Architecture,
    expected: Mapping[str, tuple[int, ...]],
    translation: Translation,
    layout: Layout,
) -> None:
    """Compare the file's names and shapes with the inferred network's.

    Raises:
        CheckpointMismatchError: they differ; the message shows where.
    """
    found = _shapes(translation.tensors)
    origin = translation.origin
    missing = [file_key(key, architecture, layout) for key in expected if key not in found]
    unknown = [*translation.unknown, *(origin[key] for key in found if key not in expected)]
    misshapen = [
        f"{origin[key]} is {list(shape)} instead of {list(expected[key])}"
        for key, shape in found.items()
        if key in expected and shape != expected[key]
    ]
    if missing or unknown or misshapen:
        raise CheckpointMismatchError(
            f"the file looks like {architecture.summary} in the {layout} layout, but "
            + _listed("it lacks", missing)
            + _listed("it also holds", unknown)
            + _listed("shapes differ:", misshapen)
            + "save the network's own state_dict() again, without anything else"
        )


def _listed(what: str, items: list[str]) -> str:
    """`what a, b and 7 more; ` or nothing."""
    items = list(dict.fromkeys(items))
    if not items:
        return ""
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{what} {', '.join(items[:_SHOWN])}{more}; "


def _as_float32(key: str, tensor: Tensor) -> Tensor:
    """A float32 copy on the CPU that no file is mapped behind."""
    plain = tensor.layout is torch.strided and tensor.device.type != "meta"
    if not (plain and tensor.is_floating_point()) or tensor.is_quantized:
        raise CheckpointFileError(
            f"tensor {key} is {tensor.dtype}, {tensor.layout} on {tensor.device.type}: weights "
            "must be dense arrays of floats, so save the network before it was quantised"
        )
    # A stride of 0 makes terabytes out of one number; such a tensor must not be copied.
    if math.prod(tensor.shape) * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointFileError(
            f"tensor {key} claims the shape {list(tensor.shape)}, more than the file stores: "
            "the file is broken or forged"
        )
    return tensor.detach().to(device="cpu", dtype=torch.float32, copy=True).contiguous()


def _check_values(state: Mapping[str, Tensor], origin: Mapping[str, str]) -> None:
    broken = [origin[key] for key, tensor in state.items() if not _is_sound(key, tensor)]
    if broken:
        raise NonFiniteWeightsError(
            f"{len(broken)} of {len(state)} tensors hold NaN, infinity or a negative variance: "
            + _listed("in", broken)
            + "training diverged or the file is damaged; take an earlier checkpoint"
        )


def _is_sound(key: str, tensor: Tensor) -> bool:
    # Minimum and maximum show NaN and infinity in one pass, many times faster than isfinite().
    low, high = (extreme.item() for extreme in torch.aminmax(tensor))
    lowest = 0.0 if key.endswith("running_var") else -math.inf
    return math.isfinite(low) and math.isfinite(high) and low >= lowest
