"""What NVIDIA's runtimes say while they work: this file is about their one logger a process.

TensorRT keeps the first logger it is given for as long as anything of it lives, and ignores later
ones. So there is one for each runtime, and each call reads on from where it began.
"""

from __future__ import annotations

import functools
from collections import deque
from types import ModuleType
from typing import Any, Final, TypeVar

from tresnet_deploy.errors import RunError

Made = TypeVar("Made")

_KEPT: Final = 1000  # lines; verbose builds say more, a session says a few
_QUOTED: Final = 3  # lines: the first names the cause, later ones repeat it further out
_BY_WEIGHT: Final = (("INTERNAL_ERROR", "ERROR"), ("WARNING",))


class Log:
    """The lines of one runtime, newest last, and the name to quote it by."""

    def __init__(self, runtime: ModuleType) -> None:
        """Make the logger that ``runtime`` is to be given."""
        self.title = f"{title_of(runtime)} {runtime.__version__}"
        self._rows: deque[tuple[int, str, str]] = deque(maxlen=_KEPT)
        self._count = 0
        self.logger = self._logger(runtime)

    def _logger(self, runtime: ModuleType) -> Any:
        log = self

        class Logger(runtime.ILogger):  # type: ignore[misc, name-defined]
            def __init__(self) -> None:
                super().__init__()

            def log(self, severity: Any, msg: str) -> None:
                log.add(severity.name, msg)

        return Logger()

    def add(self, severity: str, message: str) -> None:
        """Take one line."""
        self._count += 1
        self._rows.append((self._count, severity, message))

    def mark(self) -> int:
        """Return a place to read on from."""
        return self._count

    def reason(self, mark: int) -> str:
        """Return the gravest lines since ``mark``."""
        for severities in _BY_WEIGHT:
            lines = [text for at, name, text in self._rows if at > mark and name in severities]
            if lines:
                return "; ".join(dict.fromkeys(lines[:_QUOTED]))
        return "it gave no reason"

    def must(self, made: Made | None, what: str, *, mark: int) -> Made:
        """Return ``made``; None, False and negative numbers are how these runtimes say no.

        Raises:
            RunError: with the runtime's own reasons since ``mark``.
        """
        if made is None or made is False or (isinstance(made, int) and made < 0):
            raise RunError(f"{self.title} failed at {what}: {self.reason(mark)}")
        return made


@functools.cache
def log_of(runtime: ModuleType) -> Log:
    """Return the log of ``runtime``, the same one for as long as this process lives."""
    return Log(runtime)


def title_of(runtime: ModuleType) -> str:
    """Return how the vendor calls ``runtime``."""
    return "TensorRT-RTX" if hasattr(runtime, "ComputeCapability") else "TensorRT"
