"""Options that several commands share, and how every command talks and prints.

Data goes to stdout; progress bars, hints and the choice that was made go to stderr.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from tresnet_deploy.cli._streams import is_terminal, tell
from tresnet_deploy.contracts import Batch, Precision, Progress
from tresnet_deploy.errors import UnavailableError
from tresnet_deploy.hints import DEFAULT_FOLDER

F = TypeVar("F", bound=Callable[..., Any])
Option = Callable[[Callable[..., Any]], Any]
_LARGEST_SEED = 2**63 - 1  # of NumPy's and torch's generators alike
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8", "fp8")


class BatchRange(click.ParamType[Batch]):
    """``N`` (fixed) or ``MIN:OPT:MAX``, in images."""

    name = "N|MIN:OPT:MAX"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Batch:
        """Return the parsed range; a wrong one is a usage error."""
        if isinstance(value, Batch):
            return value
        match = re.fullmatch(r"(\d{1,6})(?::(\d{1,6}):(\d{1,6}))?", str(value))
        if not match:
            self.fail(f"{value!r} is neither a number nor MIN:OPT:MAX, such as 1:8:16", param, ctx)
        low, opt, high = (int(part) if part else int(match[1]) for part in match.groups())
        if not 1 <= low <= opt <= high:
            self.fail(f"{value!r} must rise from 1 or more: MIN <= OPT <= MAX", param, ctx)
        return Batch(min=low, opt=opt, max=high)


class _Talk(logging.Handler):
    """Writes log messages to whatever stderr is at that time."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message; warnings carry their name."""
        if record.levelno >= logging.WARNING:
            warn(self.format(record))
        else:
            tell(self.format(record))


def gathered(function: F, kind: type[Any], name: str, options: Sequence[Option]) -> F:
    """Add ``options``, whose values reach ``function`` as one dataclass ``kind`` called ``name``.

    The fields of ``kind`` are the names under which Click passes the options.
    """
    fields = [field.name for field in dataclasses.fields(kind)]

    @functools.wraps(function)
    def call(*args: Any, **given: Any) -> Any:
        part = kind(**{field: given.pop(field) for field in fields})
        return function(*args, **given, **{name: part})

    for option in reversed(options):
        option(call)
    return cast("F", call)


def _set_logging(ctx: click.Context, _param: click.Parameter, count: int) -> None:
    quiet = bool(ctx.params.get("quiet"))
    level = logging.WARNING if quiet else logging.DEBUG if count else logging.INFO
    for name in ("tresnet_deploy", "tresnet"):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.handlers = [_Talk()]


def talkative(function: F) -> F:
    """Add ``-v`` and ``-q`` and set logging up from them; every command has these."""
    function = click.option(
        "-v",
        "--verbose",
        count=True,
        expose_value=False,
        callback=_set_logging,
        help="Say more; errors come with their traceback.",
    )(function)
    return click.option(
        "-q", "--quiet", is_flag=True, is_eager=True, help="No progress bars, only warnings."
    )(function)


def output_format(function: F) -> F:
    """Add ``--format text|json``, passed as ``output_format``."""
    return click.option(
        "--format",
        "output_format",
        type=click.Choice(["text", "json"]),
        default="text",
        show_default=True,
        help="What stdout gets.",
    )(function)


def output_folder(function: F) -> F:
    """Add ``-o/--output``, the folder that artefacts are read from and written to."""
    return click.option(
        "-o",
        "--output",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        default=DEFAULT_FOLDER,
        show_default=True,
        help="Folder of all artefacts of a model.",
    )(function)


def overwrite(function: F) -> F:
    """Add ``--overwrite``."""
    return click.option(
        "--overwrite/--no-overwrite", default=False, help="Replace files that exist already."
    )(function)


def typed_options(ctx: click.Context, names: Iterable[str]) -> list[str]:
    """Return the options of the parameters ``names`` that stand on the command line."""
    wanted = frozenset(names)
    return [
        option.opts[0]
        for option in ctx.command.params
        if option.name in wanted
        and ctx.get_parameter_source(option.name) is ParameterSource.COMMANDLINE
    ]


def wider_precision() -> Precision:
    """Return what an engine may be in that INT8 is too coarse for: bf16 where any runs here."""
    from tresnet_deploy.build import default_backend

    try:
        default_backend("bf16")
    except UnavailableError:
        return "fp32"
    return "bf16"


def seed_option(of_what: str) -> Option:
    """Return --seed, which every generator of random numbers here takes."""

    def checked(_ctx: click.Context, param: click.Parameter, value: int) -> int:
        if not 0 <= value <= _LARGEST_SEED:
            raise click.BadParameter(f"{value} is not from 0 to {_LARGEST_SEED}", param=param)
        return value

    return click.option(
        "--seed", type=int, default=0, show_default=True, callback=checked, help=of_what
    )


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """Give a :class:`Progress` drawing bars on stderr; silent when quiet or not a terminal.

    The time on a bar moves each second, also while a step is silent for minutes.
    """
    from tqdm import tqdm

    bars: dict[str, Any] = {}
    lock = threading.Lock()
    hidden = quiet or not is_terminal(sys.stderr)

    def show(done: int, total: int | None, what: str) -> None:
        with lock:
            if what not in bars:
                close()
                bars[what] = tqdm(total=total, desc=what, unit="", leave=False, disable=hidden)
            bars[what].update(done - bars[what].n)

    def close() -> None:
        for bar in bars.values():
            bar.close()
        bars.clear()

    def redraw() -> None:
        with lock:
            for bar in bars.values():
                bar.refresh()

    with nullcontext() if hidden else _each_second(redraw):
        try:
            yield show
        finally:
            with lock:
                close()


@contextmanager
def _each_second(act: Callable[[], None]) -> Iterator[None]:
    """Call ``act`` once a second, from a thread of its own, until the block ends."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(1):
            act()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def say(message: str) -> None:
    """Print talk: a choice that was made, a hint, a next command."""
    logging.getLogger("tresnet_deploy").info(message)


def warn(message: str) -> None:
    """Print a warning."""
    tell(f"{click.style('warning:', fg='yellow', bold=True)} {message}")


def emit(data: bytes | str) -> None:
    """Print data on stdout, ending with one newline."""
    text = data.decode() if isinstance(data, bytes) else data
    click.echo(text, nl=not text.endswith("\n"))
