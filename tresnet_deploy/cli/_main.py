"""The root command: finds the commands by file name and turns errors into exit codes.

A command is a module of this folder with ``command``, a Click command. Its module docstring's
first line is its help in the list, read without importing it, so ``--help`` stays fast.
"""

from __future__ import annotations

import ast
import importlib
import re
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from tresnet.errors import TResNetError
from tresnet_deploy import __version__
from tresnet_deploy.cli import _failures
from tresnet_deploy.cli._streams import READER_GONE, tell
from tresnet_deploy.errors import DeployError, UsageError

_GROUPS = {
    "Make": ("export", "quantize", "build-engine", "deploy", "package", "rebuild"),
    "Prove": ("preflight", "sensitivity", "compare", "evaluate", "benchmark", "check-engine"),
    "Use": ("predict", "inspect", "variants", "doctor"),
}


class _PastClickError(Exception):
    """Carries past Click what it would answer itself."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


class Commands(click.Group):
    """Commands loaded on demand from the files of this folder."""

    def make_context(self, *args: Any, **more: Any) -> click.Context:
        """Parse the command line; this is where ``--help`` prints."""
        with _past_click():
            return super().make_context(*args, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _past_click():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all command names."""
        files = Path(__file__).parent.glob("[!_]*.py")
        return sorted(file.stem.replace("_", "-") for file in files)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None when there is no such file."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{__package__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the commands by purpose, each with the first line of its file."""
        known = set(self.list_commands(ctx))
        listed = {name for names in _GROUPS.values() for name in names}
        groups = {**_GROUPS, "More": tuple(sorted(known - listed))}
        for title, names in groups.items():
            rows = [(name, _summary(name)) for name in names if name in known]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


@contextmanager
def _past_click() -> Iterator[None]:
    """Keep Click from ending with 1 for a broken pipe, and from writing to stderr for an end."""
    try:
        yield
    except (BrokenPipeError, EOFError, KeyboardInterrupt) as error:
        raise _PastClickError(error) from error


def _summary(name: str) -> str:
    source = Path(__file__).with_name(f"{name.replace('-', '_')}.py").read_text("utf-8")
    docstring = ast.get_docstring(ast.parse(source)) or ""
    return docstring.partition("\n")[0]


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="tresnet-deploy")
def root() -> None:
    """Turn any TResNet checkpoint into a verified, measured inference engine."""


def main(argv: list[str] | None = None) -> None:
    """Run the command line and exit with the code of the outcome."""
    arguments = sys.argv[1:] if argv is None else argv
    verbose = any(re.fullmatch(r"-v+|--verbose", argument) for argument in arguments)
    if not (verbose or sys.warnoptions):
        warnings.simplefilter("ignore")  # other libraries' warnings are for developers
    sys.excepthook = _failures.report_bug_verbosely if verbose else _failures.report_bug
    sys.exit(_failures.settled(_outcome(arguments, verbose=verbose)))


def _outcome(arguments: list[str], *, verbose: bool) -> int:
    """Run one command and return its exit code, having told what failed."""
    try:
        return _run(arguments)
    except (DeployError, TResNetError, OSError) as error:
        if _failures.is_of_a_reader_that_left(error):
            return READER_GONE
        if verbose:
            tell(traceback.format_exc().rstrip())
        return _failures.report(error)
    except (click.Abort, KeyboardInterrupt):
        tell("\ninterrupted; nothing half-written was left")  # below the ^C of the terminal
        return _failures.INTERRUPTED


def _run(arguments: list[str]) -> int:
    """Run one command and return its exit code; a malformed request is reported here."""
    try:
        status = root.main(
            arguments,
            prog_name="tresnet-deploy",
            standalone_mode=False,
            color=_failures.color_choice(),
        )
    except click.ClickException as error:
        with suppress(OSError):  # as tell does
            error.show()
        return UsageError.exit_code
    except _PastClickError as carrier:
        raise carrier.error from None
    return status if type(status) is int else 0
