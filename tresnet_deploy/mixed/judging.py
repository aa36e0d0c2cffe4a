"""Building a mixture for real and judging it: this file is about candidates in a hidden folder.

Each is an INT8 graph that ``quantize`` makes, built into an engine by the backend that is to ship
it, and run on all held-out images. Where that backend cannot run here, the graph is run instead.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tresnet_deploy import metrics, scoring
from tresnet_deploy.artifacts import disk_error
from tresnet_deploy.contracts import Array, Artifact, Batch, Session
from tresnet_deploy.errors import RunError
from tresnet_deploy.images import ImageFile, ImageSet, batches
from tresnet_deploy.int8_results import Judged
from tresnet_deploy.mixed.latencies import Engine
from tresnet_deploy.quantize import QuantizeOptions, quantize
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.sensitivity import expressions_of

_CHATTY = ("tresnet_deploy.calibration", "tresnet_deploy.quantize", "tresnet_deploy.precision")
_TABLES = "calibration"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What mixtures are made from and judged on; ``calibration`` None is noise.

    ``engine`` None: the backend does not run here, so graphs are judged and not engines.
    ``folder`` is a hidden one for their files.
    """

    artifact: Artifact
    folder: Path
    calibration: ImageSet | None
    images: ImageSet
    options: QuantizeOptions
    engine: Engine | None


class Judge:
    """Judges mixtures against the float graph, whose scores are kept."""

    def __init__(self, ground: Ground) -> None:
        """Run the float graph on all images.

        Raises:
            ImageError: no image is readable.
            RunError: the float graph answers NaN or infinity.
        """
        self._ground = ground
        with scoring.opened(ground.artifact) as session:
            self._reference, self.files = self._scores(session, ground.artifact.batch)
        if not np.isfinite(self._reference).all():
            raise RunError(f"{ground.artifact.path} itself answers NaN or infinity")

    def __call__(self, kept: tuple[str, ...]) -> Judged:
        """Return how the mixture with the blocks ``kept`` in float does."""
        ground = self._ground
        options = dataclasses.replace(
            ground.options, exclude=(*ground.options.exclude, *expressions_of(kept))
        )
        with _quiet():
            graph = quantize(
                ground.artifact,
                ground.folder / "candidate.int8.onnx",
                images=ground.calibration,
                options=options,
                overwrite=True,
            )
        scores = self._run(graph)
        finite = np.isfinite(scores).all(axis=1, keepdims=True)
        return self._judged(np.where(finite, scores, np.float32(0)))

    def _run(self, graph: Artifact) -> Array:
        engine = self._ground.engine
        if engine is None:
            with scoring.opened(graph) as session:
                return self._scores(session, graph.batch)[0]
        backend = BACKENDS.load(engine.backend)
        batch = graph.batch or Batch()
        made: Artifact = backend.build(
            graph,
            self._ground.folder / f"candidate{backend.WRITES}",
            batch=batch,
            options=engine.options,
        )
        session: Session = backend.load(made)
        with closing(session):
            return self._scores(session, batch)[0]

    def _scores(self, session: Session, batch: Batch | None) -> tuple[Array, list[ImageFile]]:
        parts, files = [], []
        preprocess = self._ground.artifact.preprocess
        size = scoring.preferred_batch(session, batch)
        for portion in batches(self._ground.images, preprocess, size):
            parts.append(scoring.scores_of(session, portion.array, batch=batch))
            files.extend(portion.files)
        return np.concatenate(parts), files

    def _judged(self, scores: Array) -> Judged:
        labels = self._ground.artifact.labels
        truth = tuple(file.labels for file in self.files)
        found = metrics.accuracy(scores, truth, labels, reference=self._reference)
        same = metrics.best(self._reference) == metrics.best(scores)
        return Judged(
            agreement=float(same.mean()),
            snr_db=metrics.snr_db(self._reference, scores),
            top1=found.top1 if found else None,
            drop=found.drop if found and not labels.multi_label else None,
            drop_interval=found.drop_interval if found else None,
        )


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """Give an empty hidden folder in ``folder``, with its calibration tables, and remove it.

    Raises:
        UnavailableError: the disk refuses.
    """
    hidden = folder / ".mixed.partial"
    try:
        shutil.rmtree(hidden, ignore_errors=True)  # left by a killed run
        hidden.mkdir(parents=True)
        if (folder / _TABLES).is_dir():
            shutil.copytree(folder / _TABLES, hidden / _TABLES)
        yield hidden
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what quantize says once for the whole search from being said for each mixture."""
    logs = [logging.getLogger(name) for name in _CHATTY]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
