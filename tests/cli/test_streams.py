"""Output that nobody can read: closed, full or broken streams change no exit code to 1."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = f"{sys.executable} -c 'from tresnet_deploy.cli import main; main()'"
# A command line whose only command does what `{body}` says.
STUB = """
import os, sys
import click
from tresnet_deploy.cli import _main, _options
from tresnet_deploy.errors import GateError

@click.command()
@_options.talkative
def stub(quiet):
    {body}

_main.Commands.get_command = lambda self, ctx, name: stub
_main.main(sys.argv[1:])
"""
# As in a shell: where Python buffers nothing, its last flush finds nothing that it cannot write.
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
needs_full = pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="the system has no /dev/full"
)


def shell(line: str) -> subprocess.CompletedProcess[str]:
    """Run ``line`` in bash, where a pipe ends with the code of the first command that failed."""
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        env=BUFFERED,
        check=False,
    )


def stub(
    body: str, *arguments: str, stdout: int = subprocess.PIPE, stderr: int = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STUB.format(body=body), "stub", *arguments],
        stdout=stdout,
        stderr=stderr,
        text=True,
        env=BUFFERED,
        check=False,
    )


def stub_without_reader(body: str) -> subprocess.CompletedProcess[str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return stub(body, stdout=writer)
    finally:
        os.close(writer)


def stub_without_room_for_talk(body: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    with Path("/dev/full").open("w") as full:
        return stub(body, *arguments, stderr=full.fileno())


def test_a_closed_stderr_is_no_terminal_to_draw_bars_on() -> None:
    body = "\n    with _options.progress_bar(quiet=False) as go: go(1, 2, 'x'); print('done')"
    done = shell(f"{sys.executable} -c {shlex.quote(STUB.format(body=body))} stub 2>&-")
    assert (done.returncode, done.stdout) == (0, "done\n")


@pytest.mark.parametrize("arguments", ["variants", "variants --format json", "--help", "--version"])
def test_a_reader_that_leaves_early_ends_the_command_as_it_ends_unix_tools(arguments: str) -> None:
    done = shell(f"{TOOL} {arguments} | (exec 0<&-; sleep 1.5)")
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


@pytest.mark.parametrize(
    "body",
    [
        "click.echo('data')",
        "click.echo('much data ' * 100_000)",
        "print('written at the end, when Python closes its streams')",
    ],
)
def test_nothing_is_said_of_a_reader_that_has_gone(body: str) -> None:
    done = stub_without_reader(body)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")


def test_a_failed_gate_is_still_told_where_only_the_end_of_the_output_is_unread() -> None:
    done = stub_without_reader("print('data'); raise GateError('too slow')")
    assert (done.returncode, done.stderr) == (1, "error: too slow\n")


def test_a_pipe_that_broke_elsewhere_is_an_error_of_the_machine() -> None:
    done = stub("raise BrokenPipeError(32, 'Broken pipe')")
    assert (done.returncode, done.stderr) == (3, "error: Broken pipe\n")


@needs_full
@pytest.mark.parametrize(
    ("arguments", "code"),
    [("inspect nofile", 2), ("no-such-command", 2), ("variants", 0), ("predict -o nowhere", 2)],
)
def test_an_exit_code_stands_where_stderr_is_full(arguments: str, code: int) -> None:
    assert shell(f"{TOOL} {arguments} 2>/dev/full >/dev/null").returncode == code
    assert shell(f"{TOOL} {arguments} 2>&- >/dev/null").returncode == code


@needs_full
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("_options.say('choice'); _options.warn('trouble')", 0),
        ("raise GateError('too slow', hints=('a way',))", 1),
        ("raise KeyboardInterrupt", 130),
        ("{}['missing']", 4),
    ],
)
@pytest.mark.parametrize("arguments", [(), ("-v",)])
def test_talk_that_cannot_be_written_changes_no_outcome(
    body: str, code: int, arguments: tuple[str, ...]
) -> None:
    assert stub_without_room_for_talk(body, *arguments).returncode == code
