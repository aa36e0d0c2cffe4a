"""Commands that people are told to type exist: in the documents, and in the tool's own hints.

A block of a document that begins with ``$ tresnet-deploy ... --help`` must be that command's help,
word for word.
"""

import ast
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from tresnet_deploy.cli._main import root

ROOT = Path(__file__).resolve().parents[1]
TOOL = "tresnet-deploy"
DOCUMENTS = sorted((*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
SOURCES = [
    path
    for folder in ("tresnet", "tresnet_deploy", "plugins", "calibration")
    for path in sorted((ROOT / folder).rglob("*.py"))
]
BLOCK = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(tresnet-deploy [^`]+)`")
HELP_BLOCK = re.compile(r"\$ (tresnet-deploy(?: [a-z-]+)? --help)\n(.*)", re.DOTALL)


def blocks(path: Path) -> list[str]:
    return BLOCK.findall(path.read_text("utf-8"))


def help_blocks() -> list[tuple[str, str, str]]:
    """Document, command and shown text of each block of help."""
    found = (
        (path.name, HELP_BLOCK.fullmatch(block)) for path in DOCUMENTS for block in blocks(path)
    )
    return [(name, match[1], match[2]) for name, match in found if match]


def commands_in_documents() -> Iterator[tuple[str, str]]:
    """Document and command line, of blocks and of text."""
    for path in DOCUMENTS:
        for block in blocks(path):
            for line in block.replace("\\\n", " ").splitlines():
                yield from ((path.name, part) for part in invocations(line.removeprefix("$ ")))
        text = BLOCK.sub("", path.read_text("utf-8"))
        yield from ((path.name, each) for each in INLINE.findall(text))


def invocations(line: str) -> list[str]:
    """The calls of our tool in a line of shell, without redirections and comments."""
    parts = re.split(r"&&|\|\||[|;]|\s#\s", line)
    return [part.strip() for part in parts if part.strip().startswith(f"{TOOL} ")]


def commands_in_sources() -> Iterator[tuple[str, str]]:
    """File and command line of each string that starts with the tool's name."""
    for path in SOURCES:
        tree = ast.parse(path.read_text("utf-8"))
        inner = {
            id(part)
            for node in ast.walk(tree)
            if isinstance(node, ast.JoinedStr)
            for part in node.values
        }
        for node in ast.walk(tree):
            text = ""
            if isinstance(node, ast.JoinedStr):
                text = "".join(map(stand_in, node.values))
            elif isinstance(node, ast.Constant) and id(node) not in inner:
                text = node.value if isinstance(node.value, str) else ""
            if text.startswith(f"{TOOL} ") and "\n" not in text:
                yield path.relative_to(ROOT).as_posix(), text.partition(", ")[0]


def stand_in(part: ast.expr) -> str:
    """What a part of an f-string may become: where files lie is said by ``--output``."""
    if isinstance(part, ast.Constant):
        return str(part.value)
    assert isinstance(part, ast.FormattedValue)
    names_folder = re.fullmatch(r"where|output_suffix\(.*\)", ast.unparse(part.value))
    return " --output X" if names_folder else "X"


def check(line: str) -> None:
    """Fail unless the command of ``line`` exists and knows every option in it."""
    _tool, name, *arguments = shlex.split(re.split(r"\s[<>]|\s2>", line)[0])
    if name.startswith(("-", "...", "COMMAND")):
        return
    command = root.get_command(click.Context(root), name)
    assert command is not None, f"no command {name!r} in: {line}"
    context = click.Context(command, info_name=name)
    try:
        command.make_parser(context).parse_args(arguments)
    except click.UsageError as error:
        pytest.fail(f"{error.format_message()} In: {line}")


@pytest.mark.parametrize(
    ("document", "command", "shown"), help_blocks(), ids=[block[1] for block in help_blocks()]
)
def test_a_block_of_help_is_what_the_command_prints(
    document: str, command: str, shown: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tresnet_deploy.cli import main; main()", *command.split()[1:]],
        env={**os.environ, "COLUMNS": "80", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.strip() == done.stdout.strip(), f"{document}: paste the help of {command} again"


@pytest.mark.parametrize(("document", "line"), sorted(set(commands_in_documents())))
def test_a_command_in_a_document_can_be_typed(document: str, line: str) -> None:
    check(line)


@pytest.mark.parametrize(("source", "line"), sorted(set(commands_in_sources())))
def test_a_command_that_the_tool_suggests_can_be_typed(source: str, line: str) -> None:
    check(line)


def test_links_between_documents_lead_somewhere() -> None:
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"
