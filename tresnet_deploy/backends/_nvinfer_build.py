"""A build in a process of its own: this file is about starting, watching and ending it."""

from __future__ import annotations

import dataclasses
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tresnet_deploy.artifacts import from_json, to_json, write_whole
from tresnet_deploy.backends import _nvinfer_errors
from tresnet_deploy.backends._nvinfer_request import Range, Reply, Request
from tresnet_deploy.contracts import Batch, Preprocess, TensorSpec

_CHILD: Final = "tresnet_deploy.backends._nvinfer_child"
_TOLD_EVERY_S: Final = 60
_WORDS: Final = "words.txt"
_MAX_WORDS_BYTES: Final = 4096
_log = logging.getLogger(__name__)


def run(request: Request, *, title: str, graph: str, timeout_s: int) -> Reply:
    """Build as ``request`` asks and return the answer; ``title`` is what errors call the runtime.

    ``graph`` is what errors call the graph. What both processes tell each other lies beside the
    engine, in a folder that is gone afterwards.

    Raises:
        BuildError: the runtime refuses the graph, aborts, is killed, or takes too long.
        UnavailableError: the timing cache cannot be written.
        OSError: the disk refuses the engine.
    """
    with tempfile.TemporaryDirectory(dir=Path(request.engine).parent, prefix=".build-") as name:
        folder = Path(name)
        answer, cache = folder / "reply.json", folder / "timing.cache"
        asked = dataclasses.replace(
            request,
            reply=str(answer),
            new_timing_cache=str(cache) if request.timing_cache else "",
        )
        code = _watched(asked, folder, title=title, graph=graph, timeout_s=timeout_s)
        if code != 0 or not answer.is_file():
            raise _nvinfer_errors.death(code, _last_line(folder), runtime=title, graph=graph)
        reply = from_json(answer.read_bytes(), Reply, name=answer.name)
        if cache.is_file():
            write_whole(Path(request.timing_cache), cache.read_bytes())
    for line in (*reply.warnings, *reply.words):
        _log.debug("%s: %s", title, line)
    if reply.os_errno is not None:
        raise OSError(reply.os_errno, reply.error, request.engine)
    if reply.error is not None:
        raise _nvinfer_errors.refusal(reply, runtime=title, graph=graph)
    return reply


def _watched(asked: Request, folder: Path, *, title: str, graph: str, timeout_s: int) -> int:
    """Run the building process to its end and return its exit code, however this one ends."""
    question = folder / "request.json"
    question.write_bytes(to_json(asked))
    # -P: a folder called tensorrt in the current one must not be taken for the library.
    command = [sys.executable, "-P", "-m", _CHILD, str(question), str(os.getpid())]
    with (folder / _WORDS).open("wb") as heard:
        process = subprocess.Popen(  # noqa: S603  this very interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            stdout=heard,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            return _waited(process, timeout_s)
        except subprocess.TimeoutExpired:
            raise _nvinfer_errors.late(timeout_s, runtime=title, graph=graph) from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _waited(process: subprocess.Popen[bytes], timeout_s: int) -> int:
    """Wait for ``process``, telling each minute that it still builds."""
    started = time.monotonic()
    while True:
        left = timeout_s - (time.monotonic() - started)
        try:
            return process.wait(min(_TOLD_EVERY_S, max(0.0, left)))
        except subprocess.TimeoutExpired:
            if left <= _TOLD_EVERY_S:
                raise
        _log.info("still building after %.0f s", time.monotonic() - started)


def _last_line(folder: Path) -> str:
    text = (folder / _WORDS).read_bytes()[-_MAX_WORDS_BYTES:].decode(errors="replace")
    return next((line.strip() for line in reversed(text.split("\n")) if line.strip()), "")


def profiles_of(
    inputs: tuple[TensorSpec, ...], batches: tuple[Batch, ...], preprocess: Preprocess
) -> tuple[tuple[Range, ...], ...]:
    """Return the shapes of ``inputs`` for each range of the batch.

    The first axis, where open, is the batch; open sides are those of ``preprocess``.
    """
    return tuple(tuple(_range(spec, batch, preprocess) for spec in inputs) for batch in batches)


def _range(spec: TensorSpec, batch: Batch, preprocess: Preprocess) -> Range:
    sized = with_sides(spec, preprocess)
    low, opt, high = (
        tuple(size if isinstance(axis, str) else axis for axis in sized.shape)
        for size in (batch.min, batch.opt, batch.max)
    )
    return Range(tensor=spec.name, min=low, opt=opt, max=high)


def with_sides(spec: TensorSpec, preprocess: Preprocess) -> TensorSpec:
    """Return ``spec`` with open sides as the preprocessing makes them, and an open batch."""
    sides = (preprocess.height_px, preprocess.width_px)
    first = 1 if preprocess.layout == "uint8-nhwc" else 2  # the axis of the height
    shape = list(spec.shape)
    for axis, side in enumerate(sides, first):
        if axis < len(shape) and isinstance(shape[axis], str):
            shape[axis] = side
    return dataclasses.replace(spec, shape=tuple(shape))
