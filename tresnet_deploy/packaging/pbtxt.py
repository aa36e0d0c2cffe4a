"""Protobuf's text format, as far as Triton's config.pbtxt needs it.

Writing it takes no protobuf schema, so packaging needs no Triton package; tests read what is
written here with the schema that Triton publishes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_INDENT = "  "


@dataclass(frozen=True, slots=True)
class Word:
    """A name of an enumeration, which stands without quotes."""

    name: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """A repeated number on one line."""

    values: tuple[int, ...]


Value = str | int | bool | Word | Numbers | Sequence["Field"]
Field = tuple[str, Value]
"""A name and its value; a repeated field stands several times, a message is a list of fields."""


def text(fields: Sequence[Field], *, depth: int = 0) -> str:
    """Return ``fields`` as text, one a line, messages indented."""
    lines: list[str] = []
    for name, value in fields:
        if isinstance(value, str | int | Word | Numbers):
            lines.append(f"{_INDENT * depth}{name}: {_scalar(value)}")
        else:
            inner = text(value, depth=depth + 1)
            lines.append(f"{_INDENT * depth}{name} {{\n{inner}{_INDENT * depth}}}")
    return "".join(f"{line}\n" for line in lines)


def _scalar(value: str | int | Word | Numbers) -> str:
    if isinstance(value, Word):
        return value.name
    if isinstance(value, Numbers):
        return f"[ {', '.join(map(str, value.values))} ]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(value: str) -> str:
    """Return a string literal: quotes, backslashes and what is not printable ASCII as octal."""
    return '"' + "".join(_escaped(byte) for byte in value.encode()) + '"'


def _escaped(byte: int) -> str:
    letter = chr(byte)
    plain = letter.isascii() and letter.isprintable() and letter not in '"\\'
    return letter if plain else f"\\{byte:03o}"
