"""What our own files say beside the weights: this file is about the metadata of `save_miil`.

Safetensors metadata maps strings to strings, so each of our values is JSON under a key of its own.
Other readers of the file ignore it.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast

from .architecture import InputRule, Slopes
from .errors import CheckpointFileError
from .layers import Gammas

_PREFIX: Final = "tresnet."
_CLASS_NAMES: Final = f"{_PREFIX}class_names"
_INPUT_RULE: Final = f"{_PREFIX}input_rule"
_SLOPES: Final = f"{_PREFIX}slopes"
_GAMMAS: Final = f"{_PREFIX}gammas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What a file tells beside its tensors, None where it does not; `source` is for people."""

    class_names: tuple[str, ...] | None = None
    input_rule: InputRule | None = None
    slopes: Slopes | None = None
    gammas: Gammas | None = None
    source: str = "as the file's metadata says"


def write_notes(notes: Notes, extra: Mapping[str, str]) -> dict[str, str]:
    """Safetensors metadata that holds the notes and the caller's own entries."""
    metadata = {"format": "pt", **extra}
    if notes.class_names is not None:
        metadata[_CLASS_NAMES] = json.dumps(notes.class_names, ensure_ascii=False)
    if notes.input_rule is not None:
        metadata[_INPUT_RULE] = json.dumps(dataclasses.asdict(notes.input_rule))
    if notes.slopes is not None:
        metadata[_SLOPES] = json.dumps(dataclasses.asdict(notes.slopes))
    if notes.gammas is not None:
        metadata[_GAMMAS] = json.dumps(notes.gammas)
    return metadata


def read_notes(metadata: Mapping[str, str]) -> Notes:
    """The notes in safetensors metadata; empty ones for other people's files.

    Raises:
        CheckpointFileError: one of our entries does not parse.
    """
    return Notes(
        class_names=_class_names(_parse(metadata, _CLASS_NAMES)),
        input_rule=_input_rule(_parse(metadata, _INPUT_RULE)),
        slopes=_slopes(_parse(metadata, _SLOPES)),
        gammas=_gammas(_parse(metadata, _GAMMAS)),
    )


def _parse(metadata: Mapping[str, str], key: str) -> object:
    if key not in metadata:
        return None
    try:
        return cast("object", json.loads(metadata[key]))
    except (ValueError, RecursionError) as error:
        raise _broken(key, metadata[key]) from error


def _broken(key: str, value: object) -> CheckpointFileError:
    return CheckpointFileError(
        f"metadata {key} of the file cannot be understood: {value!r}; save it again with save_miil"
    )


def _class_names(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise _broken(_CLASS_NAMES, value)
    return tuple(str(name) for name in value)


def _input_rule(value: object) -> InputRule | None:
    match value:
        case None:
            return None
        case {
            "image_px": int(image_px),
            "resize": ("crop" | "squish") as resize,
            "crop_pct": float() | int() as crop_pct,
            "mean": [float() | int(), float() | int(), float() | int()] as mean,
            "std": [float() | int(), float() | int(), float() | int()] as std,
            "interpolation": str(interpolation),
        }:
            return InputRule(
                image_px=image_px,
                resize=resize,
                crop_pct=crop_pct,
                mean=_three(mean),
                std=_three(std),
                interpolation=interpolation,
            )
    raise _broken(_INPUT_RULE, value)


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    first, second, third = values
    return first, second, third


def _slopes(value: object) -> Slopes | None:
    match value:
        case None:
            return None
        case {"stem": float() | int() as stem, "block": float() | int() as block}:
            return Slopes(stem=stem, block=block)
    raise _broken(_SLOPES, value)


def _gammas(value: object) -> Gammas | None:
    match value:
        case None | "absolute" | "plain":
            return value
    raise _broken(_GAMMAS, value)
