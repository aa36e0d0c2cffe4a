"""Say what would stop or spoil a TensorRT build of an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from tresnet_deploy.cli._options import emit, output_format, say, talkative

if TYPE_CHECKING:
    from tresnet_deploy.preflight import Capability

Least = Literal["error", "warning", "never"]


class Target(click.ParamType["Capability"]):
    """A compute capability, such as ``8.6``."""

    name = "CC"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Capability:
        """Return the parsed capability; a wrong one is a usage error."""
        from tresnet_deploy.errors import UsageError
        from tresnet_deploy.preflight import parse

        try:
            return parse(str(value))
        except UsageError as error:
            self.fail(error.message, param, ctx)


@click.command("preflight")
@click.argument("file", metavar="[ONNX]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--compute-capability",
    "targets",
    type=Target(),
    multiple=True,
    help="A GPU that is meant, such as 8.6; may be repeated.  [default: 8.0 8.6 8.9 12.0 12.1]",
)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "never"]),
    default="error",
    show_default=True,
    help="The least finding that ends with 1.",
)
@click.option(
    "--parser/--no-parser",
    default=True,
    help="Ask the parser of TensorRT-RTX or TensorRT too, where one is installed.",
)
@click.option("--rules", is_flag=True, help="List all rules instead.")
@output_format
@talkative
def command(
    *,
    file: Path | None,
    targets: tuple[Capability, ...],
    fail_on: Least,
    parser: bool,
    rules: bool,
    output_format: str,
    quiet: bool,
) -> None:
    """Check the ONNX file against what TensorRT takes and what it makes fast.

    The static rules need neither TensorRT nor a GPU. Where tensorrt-rtx or tensorrt is installed,
    its own parser is asked as well, in a process of its own. docs/preflight.md explains each rule.

    Ends with 1 when there are errors, or with --fail-on warning also when there are warnings.
    """
    from tresnet_deploy.artifacts import to_json
    from tresnet_deploy.cli._preflight_text import failure, next_command, report_text, rules_text
    from tresnet_deploy.preflight import PORTABLE, check, rule_list

    as_json = output_format == "json"
    if rules:
        emit(to_json(rule_list()) if as_json else rules_text(rule_list()))
        return
    if file is None:
        raise click.UsageError("Missing argument '[ONNX]': the file to check.")
    report = check(file, targets=targets or PORTABLE, parser=parser)
    emit(to_json(report) if as_json else report_text(report))
    if report.fails(fail_on):
        raise failure(report)
    if not report.count("error"):
        say(f"next: {next_command(report, tuple(map(str, targets)))}")
