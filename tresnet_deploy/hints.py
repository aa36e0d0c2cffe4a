"""Commands in hints and next steps: what in them depends on where files lie, ready to be pasted."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

DEFAULT_FOLDER: Final = Path("deploy")
"""Where every command reads and writes when it is not told otherwise."""


def quoted(path: Path | str) -> str:
    """Return ``path`` as a shell takes it for one word."""
    return shlex.quote(str(path))


def output_suffix(folder: Path) -> str:
    """Return what a command ends with, so that it finds ``folder``."""
    return "" if folder == DEFAULT_FOLDER else f" --output {quoted(folder)}"
