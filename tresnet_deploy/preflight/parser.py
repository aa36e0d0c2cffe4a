"""The parser's own word: which runtime is asked, and what its answer means."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tresnet_deploy.backends import _nvinfer_support
from tresnet_deploy.preflight.reports import ParserCheck

# TensorRT-RTX first: its parser answers without a GPU.
_RUNTIMES: Final = (("tensorrt_rtx", "TensorRT-RTX"), ("tensorrt", "TensorRT"))
_NOBODY: Final = "neither tensorrt-rtx nor tensorrt is installed: pip install tensorrt-rtx"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The check as the report shows it, and each refusal with its nodes."""

    check: ParserCheck
    refusals: tuple[tuple[str, tuple[str, ...]], ...] = ()


def ask(path: Path) -> Answer:
    """Return what the first installed runtime's parser says of the ONNX file ``path``."""
    installed = (
        (module, name) for module, name in _RUNTIMES if importlib.util.find_spec(module) is not None
    )
    module, name = next(installed, ("", ""))
    if not module:
        return Answer(check=ParserCheck(state="not asked", message=_NOBODY))
    reply = _nvinfer_support.ask(module, path)
    if isinstance(reply, str):
        return Answer(check=ParserCheck(state="broke", runtime=name, message=reply))
    runtime = f"{name} {reply.version}".rstrip()
    if reply.unable:
        return Answer(check=ParserCheck(state="not asked", runtime=runtime, message=reply.unable))
    if reply.supported:
        return Answer(check=ParserCheck(state="takes it", runtime=runtime))
    return Answer(
        check=ParserCheck(state="refuses it", runtime=runtime),
        refusals=tuple((each.message, each.nodes) for each in reply.refused),
    )
