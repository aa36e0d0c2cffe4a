"""The root command: finds the commands by file name and turns errors into exit codes.

A command is a module of this folder with ``command``, a Click command. Its module docstring's
first line is its help in the list, read without importing it, so ``--help`` stays fast.
"""

from __future__ import annotations

import ast
import importlib
import logging
import sys
from pathlib import Path

import click

from tresnet_deploy import __version__
from tresnet_deploy.errors import DeployError

_GROUPS = {
    "Make": ("export", "quantize", "build-engine", "deploy"),
    "Prove": ("compare", "evaluate", "benchmark"),
    "Use": ("predict", "inspect", "variants", "doctor"),
}
_INTERRUPTED = 130


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
    verbose = any(flag in arguments for flag in ("-v", "--verbose"))
    try:
        status = root.main(arguments, prog_name="tresnet-deploy", standalone_mode=False)
        sys.exit(status if isinstance(status, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing half-written was left", err=True)
        sys.exit(_INTERRUPTED)
    except DeployError as error:
        if verbose:
            logging.getLogger(__name__).debug("traceback", exc_info=True)
        report_error(error)
        sys.exit(error.exit_code)


def report_error(error: DeployError) -> None:
    """Print one error and its ways out on stderr."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error.message}", err=True)
    for hint in error.hints:
        click.echo(f"  try: {hint}", err=True)
