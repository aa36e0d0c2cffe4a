"""Scores of any number of images from one model: this file is about sessions and their batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

from tresnet_deploy.contracts import Array, Artifact, Batch, Session, run
from tresnet_deploy.errors import ArtifactError, RunError, UnavailableError
from tresnet_deploy.registry import BACKENDS

DEFAULT_BATCH: Final = 8
"""Images run together where the model leaves the choice: enough to keep two cores busy."""

ONNX_READERS: Final = (
    "onnxruntime",  # runs each operator in the type that the graph gives it, where it can
    "openvino",  # also runs bfloat16 graphs
)
"""Backends that run an ONNX file as it is, the one to try first in front."""


def load(artifact: Artifact) -> Session:
    """Return a session for an engine, or for an ONNX file that no backend has built yet.

    Raises:
        ArtifactError: it is neither.
        UnavailableError: its runtime is not installed here.
        RunError: the runtime refuses the file.
    """
    if artifact.kind == "onnx":
        return _load_onnx(artifact)
    if artifact.backend is None:
        raise ArtifactError(
            f"{artifact.path} is a {artifact.kind}, which cannot run by itself",
            hints=("tresnet-deploy export --checkpoint FILE && tresnet-deploy build-engine",),
        )
    session: Session = BACKENDS.load(artifact.backend).load(artifact)
    return session


@contextmanager
def opened(artifact: Artifact) -> Iterator[Session]:
    """Give a session for ``artifact`` and close it afterwards; errors as for :func:`load`."""
    session = load(artifact)
    try:
        yield session
    finally:
        session.close()


def _load_onnx(artifact: Artifact) -> Session:
    refusals: list[RunError] = []
    for name in ONNX_READERS:
        try:
            session: Session = BACKENDS.load(name).load(artifact)
        except UnavailableError:
            continue
        except RunError as error:  # bfloat16 operators are not in every runtime
            refusals.append(error)
            continue
        return session
    if refusals:
        raise refusals[0]
    raise UnavailableError(
        f"no runtime for {artifact.path.name} is installed here",
        hints=tuple(f"pip install 'tresnet-deploy[{name}]'" for name in ONNX_READERS),
    )


def preferred_batch(session: Session, batch: Batch | None) -> int:
    """Return how many images to run together: what the model was made for, else the default."""
    first = session.inputs[0].shape[0]
    if isinstance(first, int):
        return first
    return batch.opt if batch else DEFAULT_BATCH


def scores_of(session: Session, images: Array, *, batch: Batch | None = None) -> Array:
    """Return float32 scores (N, C) of ``images`` (N, ...), whatever batches the session takes.

    More images than the largest batch are run in parts; where there are fewer than the smallest,
    the last image is repeated and its further answers are dropped.

    Raises:
        RunError: the runtime fails.
    """
    spec = session.inputs[0]
    smallest, largest = _batch_sizes(session, batch, len(images))
    parts = []
    for start in range(0, len(images), largest):
        part = images[start : start + largest]
        missing = max(0, smallest - len(part))
        fed = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        (scores,) = run(session, {spec.name: fed}).values()
        parts.append(scores[: len(part)].astype(np.float32))
    return np.concatenate(parts)


def _batch_sizes(session: Session, batch: Batch | None, images: int) -> tuple[int, int]:
    first = session.inputs[0].shape[0]
    if isinstance(first, int):
        return first, first
    return (batch.min, batch.max) if batch else (1, max(1, images))
