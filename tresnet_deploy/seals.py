"""The seal of a JSON file: a digest of its own fields, so that an edit by hand is noticed.

It guards against slips, such as a changed mean or a renamed backend, not against somebody who
computes the seal again; who must trust a file's origin compares its sha256 out of band. Layout and
order of the JSON do not matter, and a file without a seal is one that an older version wrote.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import msgspec

_FIELD: Final = "seal"


def sealed(data: bytes) -> bytes:
    """Return the JSON object ``data``, indented, with its seal as the last field."""
    fields: dict[str, Any] = msgspec.json.decode(data)
    fields.pop(_FIELD, None)
    fields[_FIELD] = _seal_of(fields)
    return msgspec.json.format(msgspec.json.encode(fields), indent=2) + b"\n"


def is_broken(data: bytes) -> bool:
    """Return whether the JSON object ``data`` was changed after it was sealed.

    Raises:
        msgspec.DecodeError: ``data`` is no JSON.
    """
    fields = msgspec.json.decode(data)
    if not isinstance(fields, dict) or _FIELD not in fields:
        return False
    return bool(fields.pop(_FIELD) != _seal_of(fields))


def _seal_of(fields: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(fields, order="sorted")).hexdigest()
