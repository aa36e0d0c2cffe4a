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
from pathlib import Path

import click

from tresnet.errors import TResNetError
from tresnet_deploy import __version__
from tresnet_deploy.cli import _failures
from tresnet_deploy.errors import DeployError, UsageError

_GROUPS = {
    "Make": ("export", "quantize", "build-engine", "deploy", "package", "rebuild"),
    "Prove": ("preflight", "sensitivity", "compare", "evaluate", "benchmark", "check-engine"),
    "Use": ("predict", "inspect", "variants", "doctor"),
}


class Commands(click.Group):
    """Commands loaded on demand from the files of this folder."""

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
    try:
        sys.exit(_run(arguments))
    except (DeployError, TResNetError, OSError) as error:
        if verbose:
            traceback.print_exc()
        sys.exit(_failures.report(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing half-written was left", err=True)
        sys.exit(_failures.INTERRUPTED)


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
        error.show()
        return UsageError.exit_code
    except click.Abort as error:
        if isinstance(error.__cause__, EOFError):  # of a truncated file: we never prompt
            raise error.__cause__ from None
        raise
    return status if type(status) is int else 0
