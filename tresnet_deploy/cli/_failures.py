"""What the user sees and the shell gets when a command fails: one error, its ways out, a code."""

from __future__ import annotations

import os
import sys
import traceback
from types import TracebackType

import click

from tresnet.errors import MissingPackageError, TResNetError
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
    click.echo(f"{title} {explained.message}", err=True, color=color_choice())
    for hint in explained.hints:
        click.echo(f"  try: {hint}", err=True)
    return explained.exit_code


def _explained(error: DeployError | TResNetError | OSError) -> DeployError:
    """Return ``error`` as one of our own tree."""
    if isinstance(error, DeployError):
        return error
    if isinstance(error, MissingPackageError):
        return UnavailableError(str(error))
    if isinstance(error, TResNetError):
        return UsageError(str(error))
    _drop_unwritable_stdout()
    place = f"{error.filename}: " if error.filename else ""
    return UnavailableError(f"{place}{error.strerror or error}")


def _drop_unwritable_stdout() -> None:
    """Keep Python from failing once more, with its own exit code, on output the disk refused."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def report_bug(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Stand in for ``sys.excepthook``: an exception nobody foresaw ends with exit code 4.

    Python would exit with 1, which here means that a gate failed.
    """
    if kind is MemoryError:
        sys.exit(report(UnavailableError("there is not enough memory for this")))
    sys.exit(
        report(
            StepError(
                f"{kind.__name__}: {error} (not foreseen: a fault in tresnet-deploy)",
                hints=("the same command with -v, and report its traceback",),
            )
        )
    )


def report_bug_verbosely(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print the traceback, then the same as :func:`report_bug`."""
    traceback.print_exception(kind, error, trace)
    report_bug(kind, error, trace)
