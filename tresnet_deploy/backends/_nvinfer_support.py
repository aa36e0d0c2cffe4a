"""Whether the ONNX parser of TensorRT-RTX or TensorRT takes a graph: asked in a child process.

    python -P -m tresnet_deploy.backends._nvinfer_support MODULE FILE  ->  one line of JSON

A plugin that aborts, or a library that hangs, then costs a process and not the command.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import msgspec

_TIMEOUT_S: Final = 300  # TResNet-L takes two seconds
_LAST_LINES: Final = 3
_NO_REASON: Final = "the parser names no reason"
# Where in the runtime's source it was said, and that no CUDA driver is here.
_NOISE: Final = re.compile(r"\. In \w+ at /_src/[^)]*|\s*\[checkMacros\.cpp.*", re.DOTALL)
_EMPTY: Final = ("", "false")  # what the parser says where a check of its own is the reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Nodes that the parser does not take, and its own words."""

    nodes: tuple[str, ...]
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the parser of ``version`` said of a graph; ``unable`` says why it was not asked."""

    version: str = ""
    supported: bool = False
    refused: tuple[Refused, ...] = ()
    unable: str = ""


def ask(module: str, path: Path, *, timeout_s: float = _TIMEOUT_S) -> Reply | str:
    """Return what the parser of ``module`` says of the ONNX file ``path``, or how it broke."""
    command = [sys.executable, "-P", "-m", __name__, module, str(path)]
    try:
        done = subprocess.run(  # noqa: S603  (our own interpreter and module)
            command,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            errors="replace",
        )
    except subprocess.TimeoutExpired:
        return f"the parser of {module} did not answer within {timeout_s:g} s"
    line = done.stdout.rstrip().rpartition("\n")[2]
    try:
        return msgspec.json.decode(line, type=Reply)
    except msgspec.DecodeError:
        said = " / ".join(done.stderr.strip().splitlines()[-_LAST_LINES:]) or "nothing"
        return f"the process of {module}'s parser ended with {done.returncode}, saying: {said}"


def answer(module: str, path: Path) -> Reply:
    """Return what the parser of ``module`` says; called in the child."""
    try:
        runtime = importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a shared library that does not load
        return Reply(unable=f"{module} does not load: {error}")
    return _asked(runtime, path)


def _asked(runtime: ModuleType, path: Path) -> Reply:

    class Quiet(runtime.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, message: str) -> None:
            pass

    logger = Quiet()
    try:
        builder = runtime.Builder(logger)
    except TypeError as error:  # pybind11's word for a null pointer: CUDA does not start
        return Reply(
            version=runtime.__version__, unable=f"its builder does not start here: {error}"
        )
    network = builder.create_network(0)  # held by name: the parser keeps no reference to it
    parser = runtime.OnnxParser(network, logger)
    supported = bool(parser.supports_model_v2(path.read_bytes(), str(path)))
    return Reply(
        version=runtime.__version__,
        supported=supported,
        refused=() if supported else _refusals(parser),
    )


def _refusals(parser: Any) -> tuple[Refused, ...]:
    """Return one refusal for each reason, with all nodes that it was given for."""
    by_reason: dict[str, list[str]] = {}
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        said = _NOISE.sub("", error.desc().strip())
        words = error.code().name.lower().replace("_", " ") if said in _EMPTY else said
        reason = f"{error.node_operator() or 'the graph'}: {words}"
        by_reason.setdefault(reason, []).append(_place(error))
    if not by_reason:
        return (Refused(nodes=(), message=_NO_REASON),)
    return tuple(
        Refused(nodes=tuple(dict.fromkeys(filter(None, names))), message=reason)
        for reason, names in by_reason.items()
    )


def _place(error: Any) -> str:
    """Return the name of the node, and of the calls of functions that it is inside of."""
    return " | ".join((error.node_name(), *reversed(error.local_function_stack())))


if __name__ == "__main__":
    reply = answer(sys.argv[1], Path(sys.argv[2]))
    print(msgspec.json.encode(reply).decode())  # noqa: T201  (to the parent)
