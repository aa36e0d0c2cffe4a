"""What checkpoints are wrapped in: this file is about finding the state dict inside a mapping.

Training scripts put it under "model", "state_dict" or "ema", beside class names and an optimiser's
state, and prefix its keys with the module that held the network ("module.", "backbone.0.body.").
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor

from .errors import CheckpointMismatchError, NotATResNetError
from .layouts import STEM_KEYS, Layout

_MAX_DEPTH: Final = 3  # {"checkpoint": {"model": {...}}} is the deepest nesting seen
_SHOWN_KEYS: Final = 6
_AVERAGE: Final = re.compile(r"(?<![a-z])ema(?![a-z])")  # and not in "semantic"
_CLASS_NAMES_KEY: Final = "idx_to_class"  # ASL, ML_Decoder, CSL

Mapped = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDict:
    """A TResNet's tensors with the prefix removed, and where they were found.

    `wrapper` is the path of keys that led there ("model", "state_dict_ema"), or "flat"; `ignored`
    are entries beside the tensors that are none, and the stems of other networks among them.
    """

    tensors: Mapping[str, Tensor]
    layout: Layout
    wrapper: str
    prefix: str
    ignored: tuple[str, ...]
    class_names: tuple[str, ...] | None


def find_state_dict(content: Mapped, *, averaged: bool = True) -> StateDict:
    """The network's tensors in `content`.

    Where a file holds the trained weights and their moving average, `averaged` takes the average:
    it is what its authors evaluated and published.

    Raises:
        NotATResNetError: no stem of a TResNet anywhere.
        CheckpointMismatchError: several networks, with nothing to tell which one is meant.
    """
    found = list(_candidates(content, ()))
    if not found:
        raise NotATResNetError(_no_stem(content))
    path, state, stem = _choose(found, averaged=averaged)
    prefix, layout = _parts(stem)
    others = [each for _, mapping, each in found if mapping is state and each != stem]
    prefixes = [_parts(each)[0] for each in (stem, *others)]
    tensors: dict[str, Tensor] = {}
    ignored: list[str] = others.copy()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            ignored.append(str(name))
        elif not others or _owner(str(name), prefixes) == prefix:
            tensors[str(name).removeprefix(prefix)] = value
    return StateDict(
        tensors=tensors,
        layout=layout,
        wrapper=".".join(path) or "flat",
        prefix=prefix,
        ignored=tuple(ignored),
        class_names=_class_names(content),
    )


_Candidate = tuple[tuple[str, ...], Mapped, str]


def _candidates(content: Mapped, path: tuple[str, ...]) -> Iterator[_Candidate]:
    """Path, mapping and stem key of each TResNet in `content`."""
    for key, value in content.items():
        if isinstance(value, Mapping) and len(path) < _MAX_DEPTH:
            yield from _candidates(value, (*path, str(key)))
        elif isinstance(value, Tensor) and _is_stem(str(key)):
            yield path, content, str(key)


def _parts(stem: str) -> tuple[str, Layout]:
    """The prefix of a stem's key, and the layout that calls it so."""
    key, layout = next((key, layout) for key, layout in STEM_KEYS.items() if stem.endswith(key))
    return stem.removesuffix(key), layout


def _owner(name: str, prefixes: list[str]) -> str | None:
    """The prefix of the network that `name` belongs to: the longest that it begins with."""
    return max((each for each in prefixes if name.startswith(each)), key=len, default=None)


def _is_stem(key: str) -> bool:
    return any(key == stem or key.endswith(f".{stem}") for stem in STEM_KEYS)


def _choose(found: list[_Candidate], *, averaged: bool) -> _Candidate:
    """The one candidate, or of two the averaged (or the other)."""
    fitting = found
    if len(found) > 1:
        fitting = [candidate for candidate in found if _is_average(candidate) == averaged]
    if len(fitting) == 1:
        return fitting[0]
    places = ", ".join(f"{'.'.join(path) or 'flat'}:{stem}" for path, _, stem in found)
    raise CheckpointMismatchError(
        f"the file holds {len(found)} TResNets ({places}) and nothing says which one is meant: "
        "save one of them alone"
    )


def _is_average(candidate: _Candidate) -> bool:
    path, _, stem = candidate
    return any(_AVERAGE.search(name.lower()) for name in (*path, stem))


def _no_stem(content: Mapped) -> str:
    keys = [str(key) for key in content]
    shown = ", ".join(keys[:_SHOWN_KEYS]) or "none at all"
    stems = " or ".join(STEM_KEYS)
    return (
        f"the file holds no TResNet: no key ends in {stems}. Its {len(keys)} keys begin with "
        f"{shown}. Give a checkpoint of a TResNet (`tresnet-deploy variants` lists them)"
    )


def _class_names(content: Mapping[str, object]) -> tuple[str, ...] | None:
    """Names in the order of the outputs, from a mapping of index to name or a list."""
    names = content.get(_CLASS_NAMES_KEY)
    if isinstance(names, list | tuple):
        return tuple(str(name) for name in names)
    if not isinstance(names, Mapping):
        return None
    if all(isinstance(key, int) for key in names):
        return tuple(str(names[key]) for key in sorted(names))
    return tuple(str(name) for name in names.values())
