"""Standard streams that are closed or full, or whose reader has gone.

Talk that cannot be written is lost, and the outcome's exit code stands. Data that cannot be written
is an error, unless its reader had enough: then we end as Unix tools do.
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress
from typing import TextIO

import click

READER_GONE = 128 + signal.SIGPIPE
"""Exit code when nobody reads stdout any more, as shells count."""


def tell(message: str, *, color: bool | None = None) -> None:
    """Print ``message`` on stderr, where somebody may listen."""
    with suppress(OSError):
        click.echo(message, err=True, color=color)


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether ``stream`` is one; Python has None for what was closed from the start."""
    return stream is not None and stream.isatty()


def reader_is_gone(stream: TextIO | None) -> bool:
    """Return whether ``stream`` is a pipe that nobody reads any more."""
    if stream is None:
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return bool(poll.poll(0))  # asked for nothing, it gives errors and hang-ups alone


def drain(stream: TextIO | None) -> OSError | None:
    """Write out what ``stream`` holds; forget it where the system refuses, and return why.

    Python would try at its very end, and answer a refusal with an exit code of its own, 120.
    """
    if stream is None:
        return None
    try:
        stream.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return error
    return None
