"""Stages run side by side by NVIDIA's Polygraphy, which can read every file that is saved here.

    outputs/0000000007.json   RunResults of batch 7: the scores of every stage
    accuracy.json             AccuracyResults: each stage against the reference, batch by batch
    images.txt                the images in order, one a line

Polygraphy's measures are those of a batch taken as one vector. What the report says of single
images is measured from the same scores, in verdicts.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from polygraphy.backend.base import BaseRunner
from polygraphy.common import TensorMetadata
from polygraphy.comparator import (
    Comparator,
    CosineSimilarityCompareFunc,
    RunResults,
    SimpleCompareFunc,
    SnrCompareFunc,
)
from polygraphy.exception import PolygraphyException
from polygraphy.logger import G_LOGGER

from tresnet_deploy.contracts import Array, Batch, Feeds, Precision, Session
from tresnet_deploy.errors import RunError
from tresnet_deploy.scoring import scores_of

Results = Generator[RunResults, None, None]

IMAGES: Final = "images"
SCORES: Final = "scores"
"""The one input and the one output of every stage, whatever its own graph calls them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A loaded model on the way from weights to engine; ``batch`` bounds its batches."""

    name: str
    precision: Precision
    session: Session
    batch: Batch | None = None
    file: str | None = None
    sha256: str | None = None


class StageRunner(BaseRunner):  # type: ignore[misc]  # Polygraphy has no types
    """A Polygraphy runner around one of our sessions; its life is the session's, not its own."""

    def __init__(self, stage: Stage) -> None:
        """Wrap ``stage``; nothing is loaded or closed here."""
        super().__init__(name=stage.name)
        self._stage = stage

    def get_input_metadata_impl(self) -> TensorMetadata:
        """Return the images that the stage takes, in any number."""
        spec = self._stage.session.inputs[0]
        shape = (None, *(size if isinstance(size, int) else None for size in spec.shape[1:]))
        return TensorMetadata().add(IMAGES, np.dtype(spec.dtype), shape)

    def infer_impl(self, feed_dict: Feeds) -> OrderedDict[str, Array]:
        """Return the scores (N, C) of a batch, run in parts of a size that the stage takes."""
        begin = time.perf_counter()
        scores = scores_of(self._stage.session, feed_dict[IMAGES], batch=self._stage.batch)
        self.inference_time = time.perf_counter() - begin
        return OrderedDict({SCORES: scores})


def run_all(stages: tuple[Stage, ...], feeds: Iterable[Feeds], folder: Path) -> tuple[Array, ...]:
    """Run ``stages``, the reference first, on ``feeds``; return the scores (N, C) of each.

    All stages run a batch before the next one is read, and only scores are kept. What Polygraphy
    saves in ``folder`` carries its default thresholds: verdicts are made elsewhere, and
    ``polygraphy check accuracy`` takes thresholds of its own.

    Raises:
        RunError: a stage or Polygraphy fails.
    """
    kept: tuple[list[Array], ...] = tuple([] for _ in stages)
    outputs = str(folder / "outputs")
    runners = [StageRunner(stage) for stage in stages]
    try:
        with _quiet():
            stream = Comparator.run(
                runners, data_loader=feeds, streaming=True, save_outputs_path=outputs
            )
            results = Comparator.compare_accuracy(
                _keeping(stream, kept),
                comparisons=[(0, index) for index in range(1, len(stages))],
                compare_func=[
                    SimpleCompareFunc(check_error_stat="max"),
                    CosineSimilarityCompareFunc(),
                    SnrCompareFunc(),
                ],
            )
            results.save(str(folder / "accuracy.json"))
    except PolygraphyException as error:
        raise RunError(f"Polygraphy could not compare the stages: {error}") from error
    return tuple(np.concatenate(batches) for batches in kept)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Polygraphy from logging, and from formatting whole arrays for logs it will not write."""
    with (
        G_LOGGER.verbosity(),
        np.printoptions(threshold=0, edgeitems=1),
        np.errstate(invalid="ignore", over="ignore", divide="ignore"),
    ):
        yield


def _keeping(stream: Results, kept: tuple[list[Array], ...]) -> Results:
    """Pass results on, keeping the scores of each stage."""
    with closing(stream):
        for batch in stream:
            for scores, (_, iterations) in zip(kept, batch.items(), strict=True):
                scores.append(iterations[0][SCORES])
            yield batch
