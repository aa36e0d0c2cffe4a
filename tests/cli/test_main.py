"""The root command: help without heavy imports, one exit code an error, colour, completion."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from tresnet.errors import CheckpointFileError, MissingPackageError
from tresnet_deploy import __version__
from tresnet_deploy.cli import _main
from tresnet_deploy.cli._options import talkative
from tresnet_deploy.errors import (
    ArtifactError,
    BuildError,
    DeployError,
    ElsewhereError,
    ExportError,
    GateError,
    ImageError,
    QuantizeError,
    RunError,
    StepError,
    UnavailableError,
    UsageError,
)

HEAVY = ("jinja2", "msgspec", "numpy", "onnx", "onnx_ir", "onnxruntime", "openvino", "PIL")
HEAVIEST = ("huggingface_hub", "polygraphy", "torch", "tqdm")
# A command line whose only command does what `{body}` says.
STUB = """
import sys
import click
from tresnet_deploy.cli import _main
from tresnet_deploy.cli._options import talkative

@click.command()
@talkative
def stub(quiet):
    {body}

_main.Commands.get_command = lambda self, ctx, name: stub
_main.main(sys.argv[1:])
"""


def run_stub(
    body: str, *arguments: str, stdout: int | None = subprocess.PIPE
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STUB.format(body=body), "stub", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """Make every command raise what is given."""

    def install(error: BaseException) -> None:
        @click.command("stub")
        @talkative
        def stub(*, quiet: bool) -> None:
            raise error

        monkeypatch.setattr(_main.Commands, "get_command", lambda _self, _ctx, _name: stub)

    return install


def all_commands() -> list[str]:
    return _main.root.list_commands(click.Context(_main.root))


def test_help_lists_every_command_with_its_summary(command) -> None:
    done = command("--help")
    assert done.code == 0
    for name in all_commands():
        assert f"\n  {name} " in done.out
    assert "\nUse:\n" in done.out


def test_help_imports_nothing_heavy() -> None:
    program = f"""
import sys
from tresnet_deploy.cli import main
try:
    main(["--help"])
except SystemExit:
    loaded = sorted(set({HEAVY + HEAVIEST!r}) & set(sys.modules))
    print(loaded, file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == "[]\n"


def test_help_of_each_command_loads_no_runtime() -> None:
    program = f"""
import sys
from tresnet_deploy.cli import main
for name in {all_commands()!r}:
    try:
        main([name, "--help"])
    except SystemExit as stopped:
        assert stopped.code == 0, name
    loaded = sorted(set({HEAVIEST!r} + ("onnxruntime", "openvino", "onnx")) & set(sys.modules))
    assert not loaded, (name, loaded)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", all_commands())
def test_each_command_is_the_click_command_of_its_file(name: str) -> None:
    found = _main.root.get_command(click.Context(_main.root), name)
    assert isinstance(found, click.Command)
    assert found.name == name
    assert found.help


def test_the_version_is_the_packages(command) -> None:
    assert command("--version").out == f"tresnet-deploy, version {__version__}\n"


@pytest.mark.parametrize("arguments", [["no-such-command"], ["variants", "--no-such-option"], []])
def test_a_malformed_request_ends_with_2(command, arguments: list[str]) -> None:
    done = command(*arguments)
    assert done.code == 2
    assert "Usage: tresnet-deploy" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (DeployError, 4),
        (UsageError, 2),
        (ImageError, 2),
        (ArtifactError, 2),
        (UnavailableError, 3),
        (ElsewhereError, 3),
        (GateError, 1),
        (StepError, 4),
        (ExportError, 4),
        (QuantizeError, 4),
        (BuildError, 4),
        (RunError, 4),
    ],
)
def test_each_error_is_its_message_its_ways_out_and_its_code(
    command, failing: Callable[[BaseException], None], kind: type[DeployError], code: int
) -> None:
    failing(kind("x.onnx is odd", hints=("one way", "another way")))
    done = command("stub")
    assert done.code == code
    assert done.out == ""
    assert done.err == "error: x.onnx is odd\n  try: one way\n  try: another way\n"


def test_every_error_class_has_been_given_a_code_here() -> None:
    def family(kind: type[DeployError]) -> set[type[DeployError]]:
        return {kind}.union(*(family(child) for child in kind.__subclasses__()))

    (marks,) = (
        mark.args[1] for mark in test_each_error_is_its_message_its_ways_out_and_its_code.pytestmark
    )
    assert {kind for kind, _code in marks} == family(DeployError)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (CheckpointFileError("x.pth is empty"), 2, "x.pth is empty"),
        (MissingPackageError("needs inplace-abn"), 3, "needs inplace-abn"),
        (PermissionError(13, "Permission denied", "x"), 3, "x: Permission denied"),
        (OSError("no errno"), 3, "no errno"),
    ],
)
def test_errors_of_the_network_and_the_system_are_mapped(
    command, failing: Callable[[BaseException], None], error: Exception, code: int, message: str
) -> None:
    failing(error)
    done = command("stub")
    assert (done.code, done.err) == (code, f"error: {message}\n")


@pytest.mark.parametrize("flag", ["-v", "-vv", "--verbose"])
def test_verbose_adds_the_traceback(
    command, failing: Callable[[BaseException], None], flag: str
) -> None:
    failing(UsageError("x.onnx is odd"))
    done = command("stub", flag)
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.endswith("error: x.onnx is odd\n")


def test_ctrl_c_ends_with_130(command, failing: Callable[[BaseException], None]) -> None:
    failing(KeyboardInterrupt())
    done = command("stub")
    assert done.code == 130
    assert done.err.strip() == "interrupted; nothing half-written was left"


def test_a_real_interrupt_while_publishing_leaves_nothing(tmp_path: Path) -> None:
    body = f"""
    import pathlib, time
    from tresnet_deploy import artifacts
    with artifacts.publishing(pathlib.Path({str(tmp_path)!r}) / "m.onnx", overwrite=False) as new:
        new.path.write_bytes(b"half")
        print("ready", flush=True)
        time.sleep(60)
"""
    with subprocess.Popen(
        [sys.executable, "-c", STUB.format(body=body.strip()), "stub"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130
    assert errors.strip() == "interrupted; nothing half-written was left"
    assert [path.name for path in tmp_path.iterdir()] in ([], [".tresnet-deploy.lock"])


def test_what_nobody_foresaw_ends_with_4_and_without_a_traceback() -> None:
    done = run_stub("{}['missing']")
    assert done.returncode == 4
    assert done.stderr == (
        "error: KeyError: 'missing' (not foreseen: a fault in tresnet-deploy)\n"
        "  try: the same command with -v, and report its traceback\n"
    )


def test_what_nobody_foresaw_shows_its_traceback_with_v() -> None:
    done = run_stub("{}['missing']", "-v")
    assert done.returncode == 4
    assert done.stderr.startswith("Traceback")


def test_an_unexpected_end_of_file_is_no_interruption() -> None:
    done = run_stub("raise EOFError('Ran out of input')")
    assert done.returncode == 4
    assert "error: EOFError: Ran out of input" in done.stderr


def test_too_little_memory_is_a_fault_of_the_machine() -> None:
    done = run_stub("raise MemoryError")
    assert done.returncode == 3
    assert done.stderr == "error: there is not enough memory for this\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_output_that_the_disk_refuses_is_one_error() -> None:
    with Path("/dev/full").open("w") as full:
        done = run_stub("click.echo('data')", stdout=full.fileno())
    assert done.returncode == 3
    assert done.stderr == "error: No space left on device\n"


def test_a_reader_that_has_gone_is_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run_stub("click.echo('data')", stdout=writer)
    os.close(writer)
    assert done.stderr == ""


def test_warnings_of_libraries_are_only_shown_with_v() -> None:
    body = "import warnings; warnings.warn('old API', DeprecationWarning, stacklevel=1)"
    assert run_stub(f"{body}").stderr == ""
    shown = run_stub(f"{body.replace('Deprecation', 'User')}", "-v").stderr
    assert "old API" in shown


def test_a_return_value_is_no_exit_code_unless_it_is_a_number() -> None:
    assert run_stub("return True").returncode == 0
    assert run_stub("click.get_current_context().exit(1)").returncode == 1


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_is_for_terminals_and_no_color_is_obeyed(no_color: str, coloured: bool) -> None:
    master, terminal = pty.openpty()
    subprocess.run(
        [sys.executable, "-c", STUB.format(body="raise OSError('odd')"), "stub"],
        stderr=terminal,
        env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm"},
        check=False,
    )
    os.close(terminal)
    shown = os.read(master, 1000)
    os.close(master)
    assert b"odd" in shown
    assert (b"\x1b[" in shown) == coloured


def complete(words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", "from tresnet_deploy.cli import main; main()"],
        env={
            **os.environ,
            "_TRESNET_DEPLOY_COMPLETE": "bash_complete",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_the_shell_completes_commands_and_options() -> None:
    assert complete("tresnet-deploy ins") == ["inspect"]
    assert complete("tresnet-deploy inspect --form") == ["--format"]
    assert complete("tresnet-deploy variants --format ") == ["text", "json"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_exists_for_each_shell(shell: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from tresnet_deploy.cli import main; main()"],
        env={**os.environ, "_TRESNET_DEPLOY_COMPLETE": f"{shell}_source"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "tresnet-deploy" in done.stdout or "too old" in done.stderr + done.stdout
