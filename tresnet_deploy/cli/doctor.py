"""Say what this machine can run, and what would make it run more."""

from __future__ import annotations

from pathlib import Path

import click

from tresnet_deploy.cli._options import emit, output_folder, output_format, say, talkative


@click.command("doctor")
@output_folder
@output_format
@talkative
def command(*, folder: Path, output_format: str, quiet: bool) -> None:
    """Say what this machine can run, and what would make it run more.

    Exit code 3 when no backend is usable.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._inspection_text import machine_text
    from tresnet_deploy.errors import UnavailableError
    from tresnet_deploy.inspection import examine

    report = examine(folder)
    emit(to_json(report) if output_format == "json" else machine_text(report))
    if not report.usable:
        raise UnavailableError(
            "no backend is usable here", hints=("pip install 'tresnet-deploy[all-cpu]'",)
        )
    say("next: tresnet-deploy deploy --demo, which runs every step on a small trained network")
