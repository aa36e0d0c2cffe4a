"""Options that commands share: batch ranges, talk and silence, progress, output."""

import logging
import re
import sys
import time
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from tresnet_deploy.cli import _options
from tresnet_deploy.contracts import Batch


@pytest.fixture
def talk() -> Callable[..., Result]:
    """Run a command that logs once at each level, with the given flags."""

    @click.command()
    @_options.talkative
    def command(*, quiet: bool) -> None:
        logger = logging.getLogger("tresnet_deploy.somewhere")
        logger.debug("detail")
        _options.say("choice")
        logger.warning("trouble")
        _options.emit("data")

    return lambda *flags: CliRunner().invoke(command, flags)


@pytest.mark.parametrize(
    ("text", "batch"),
    [
        ("1", Batch(min=1, opt=1, max=1)),
        ("8", Batch(min=8, opt=8, max=8)),
        ("1:8:16", Batch(min=1, opt=8, max=16)),
    ],
)
def test_a_batch_is_a_number_or_a_range(text: str, batch: Batch) -> None:
    assert _options.BatchRange().convert(text, None, None) == batch
    assert _options.BatchRange().convert(batch, None, None) is batch


@pytest.mark.parametrize("text", ["", "a", "-1", "1:8", "1:8:16:32", "1:a:2", "9" * 5000, "1.5"])
def test_what_is_no_batch_says_what_one_looks_like(text: str) -> None:
    with pytest.raises(click.BadParameter, match="MIN:OPT:MAX, such as 1:8:16"):
        _options.BatchRange().convert(text, None, None)


@pytest.mark.parametrize("text", ["0", "0:1:2", "2:1:3", "1:3:2"])
def test_a_batch_range_must_rise_from_one(text: str) -> None:
    with pytest.raises(click.BadParameter, match="must rise from 1"):
        _options.BatchRange().convert(text, None, None)


@pytest.mark.parametrize(
    ("flags", "heard"),
    [
        ((), "choice\nwarning: trouble\n"),
        (("-v",), "detail\nchoice\nwarning: trouble\n"),
        (("-vv",), "detail\nchoice\nwarning: trouble\n"),
        (("-q",), "warning: trouble\n"),
        (("-q", "-v"), "warning: trouble\n"),
    ],
)
def test_talk_goes_to_stderr_as_loud_as_asked_and_data_to_stdout(
    talk: Callable[..., Result], flags: tuple[str, ...], heard: str
) -> None:
    result = talk(*flags)
    assert result.stderr == heard
    assert result.stdout == "data\n"


def test_a_second_command_in_one_process_talks_once_and_to_its_own_stderr(
    talk: Callable[..., Result],
) -> None:
    talk()
    assert talk().stderr == "choice\nwarning: trouble\n"


@pytest.mark.parametrize("data", ["text", "text\n", b"text", b"text\n"])
def test_output_ends_with_one_newline(
    data: bytes | str, capsys: pytest.CaptureFixture[str]
) -> None:
    _options.emit(data)
    assert capsys.readouterr().out == "text\n"


def test_a_bar_is_drawn_on_a_terminal_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with _options.progress_bar(quiet=False) as progress:
        progress(1, 2, "calibrate")
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _options.progress_bar(quiet=False) as progress:
        progress(1, 2, "calibrate")
        progress(2, 2, "calibrate")
        progress(1, None, "compare")
    shown = capsys.readouterr()
    assert "calibrate" in shown.err
    assert "compare" in shown.err
    assert shown.out == ""


def test_no_bar_is_drawn_when_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _options.progress_bar(quiet=True) as progress:
        progress(1, 2, "calibrate")
    assert capsys.readouterr().err == ""


def test_the_time_on_a_bar_moves_while_a_step_says_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with _options.progress_bar(quiet=False) as progress:
        progress(0, 2, "building")
        time.sleep(2.3)
    assert re.search(r"building.*00:0[1-9]", capsys.readouterr().err)
