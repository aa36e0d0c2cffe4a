"""What the user sees and the shell gets when a command fails: one error, its ways out, a code."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

import click

from tresnet.errors import MissingPackageError, TResNetError
from tresnet_deploy.cli._streams import READER_GONE, drain, reader_is_gone, tell
from tresnet_deploy.errors import DeployError, StepError, UnavailableError, UsageError

INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of SIGINT, as shells count."""


def color_choice() -> bool | None:
    """Return False where https://no-color.org asks for it, else None: the stream decides."""
    return False if os.environ.get("NO_COLOR") else None


def report(error: DeployError | TResNetError | OSError) -> int:
    """Print ``error`` and its ways out on stderr; return the exit code."""
    explained = _explained(error)
    title = click.style("error:", fg="red", bold=True)
    tell(f"{title} {explained.message}", color=color_choice())
    for hint in explained.hints:
        tell(f"  try: {hint}")
    return explained.exit_code


def settled(code: int) -> int:
    """Write out what both streams still hold; return ``code``, or why stdout could not be written.

    An outcome that has failed already keeps its code.
    """
    unwritten = drain(sys.stdout)
    if unwritten is not None and code == 0:
        code = READER_GONE if isinstance(unwritten, BrokenPipeError) else report(unwritten)
    drain(sys.stderr)
    return code


def is_of_a_reader_that_left(error: BaseException) -> bool:
    """Return whether ``error`` is a write to stdout that nobody reads any more.

    A pipe to a process of our own that broke is an error like any other.
    """
    return isinstance(error, BrokenPipeError) and reader_is_gone(sys.stdout)


def _explained(error: DeployError | TResNetError | OSError) -> DeployError:
    """Return ``error`` as one of our own tree."""
    if isinstance(error, DeployError):
        return error
    if isinstance(error, MissingPackageError):
        return UnavailableError(str(error))
    if isinstance(error, TResNetError):
        return UsageError(str(error))
    place = f"{error.filename}: " if error.filename else ""
    return UnavailableError(f"{place}{error.strerror or error}")


def report_bug(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Stand in for ``sys.excepthook``: an exception nobody foresaw ends with exit code 4.

    Python would exit with 1, which here means that a gate failed.
    """
    if kind is MemoryError:
        sys.exit(settled(report(UnavailableError("there is not enough memory for this"))))
    unforeseen = StepError(
        f"{kind.__name__}: {error} (not foreseen: a fault in tresnet-deploy)",
        hints=("the same command with -v, and report its traceback",),
    )
    sys.exit(settled(report(unforeseen)))


def report_bug_verbosely(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback, then the same as :func:`report_bug`."""
    tell("".join(traceback.format_exception(kind, error, trace)).rstrip())
    report_bug(kind, error, trace)
