"""Say whether an engine may be loaded on this machine, without loading it."""

from __future__ import annotations

from pathlib import Path

import click

from tresnet_deploy.cli._models import newest_engine_of
from tresnet_deploy.cli._options import emit, output_folder, output_format, say, talkative


@click.command("check-engine")
@click.argument("engine", metavar="[ENGINE]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--strict/--no-strict", default=False, help="End with 1 also where it cannot be told."
)
@output_folder
@output_format
@talkative
def command(
    *, engine: Path | None, strict: bool, folder: Path, output_format: str, quiet: bool
) -> None:
    """Say whether ENGINE (default: the newest of the folder) may be loaded on this machine.

    It is compatible, incompatible, or it cannot be told. Read are its hashes, sidecar, header and
    parents, the versions installed here, the processor or the GPU. Nothing is deserialised, so this
    is safe with an engine of unknown origin.

    Ends with 1 when it is incompatible, and says how to build it anew.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._trust_text import refusal, text
    from tresnet_deploy.trust import examine

    report = examine(engine or newest_engine_of(folder))
    emit(to_json(report) if output_format == "json" else text(report))
    if report.verdict == "incompatible" or (strict and report.verdict != "compatible"):
        raise refusal(report)
    if report.verdict == "cannot tell":
        say(f"if it does not load: {report.rebuild}")
