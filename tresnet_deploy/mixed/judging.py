"""Building a mixture for real and judging it: this file is about candidates in a hidden folder.

Each is the INT8 graph that ``quantize`` writes, built into an engine by the backend that is to ship
it, and run on all held-out images. Where that backend cannot run here, the graph is run instead.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tresnet_deploy import graph_files, metrics, scoring
from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.contracts import Array, Artifact, Batch, Session
from tresnet_deploy.disk import disk_error
from tresnet_deploy.errors import RunError
from tresnet_deploy.images import ImageFile, ImageSet, batches
from tresnet_deploy.int8_results import Judged
from tresnet_deploy.metrics import Flags
from tresnet_deploy.mixed.latencies import Engine
from tresnet_deploy.quantize.graphs import child
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.sensitivity import Forms, expressions_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What mixtures are made from and judged on.

    ``engine`` None: the backend does not run here, so graphs are judged and not engines.
    ``folder`` is a hidden one for their files.
    """

    forms: Forms
    folder: Path
    images: ImageSet
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
        with scoring.opened(ground.forms.artifact) as session:
            self._reference, self.files = self._scores(session, ground.forms.artifact.batch)
        if not np.isfinite(self._reference).all():
            raise RunError(f"{ground.forms.artifact.path} itself answers NaN or infinity")

    def __call__(self, kept: tuple[str, ...]) -> Judged:
        """Return how the mixture with the blocks ``kept`` in float does."""
        return self._judged(self._run(self._graph(kept)))

    def _graph(self, kept: tuple[str, ...]) -> Artifact:
        """Return the INT8 graph as ``quantize`` writes it, in the hidden folder."""
        ground = self._ground
        path = ground.folder / "candidate.int8.onnx"
        graph_files.save(ground.forms.quantized(expressions_of(kept)), path)
        made = child(ground.forms.artifact, path, step="quantize", precision="int8", settings={})
        return replace(made, sha256=sha256_of(path))

    def _run(self, graph: Artifact) -> Array:
        engine = self._ground.engine
        if engine is None:
            with scoring.opened(graph) as opened:
                return self._scores(opened, graph.batch)[0]
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
        parts: list[Array] = []
        files: list[ImageFile] = []
        preprocess = self._ground.forms.artifact.preprocess
        size = scoring.preferred_batch(session, batch)
        for portion in batches(self._ground.images, preprocess, size):
            parts.append(scoring.scores_of(session, portion.array, batch=batch))
            files.extend(portion.files)
        return np.concatenate(parts), files

    def _judged(self, scores: Array) -> Judged:
        """Judge ``scores`` (N, C); an image that has no numbers for an answer is wrong."""
        labels = self._ground.forms.artifact.labels
        truth = tuple(file.labels for file in self.files)
        found = metrics.accuracy(scores, truth, labels, reference=self._reference)
        finite: Flags = np.asarray(np.isfinite(scores).all(axis=1))
        activation = labels.activation
        same = finite & metrics.agreeing(self._reference, scores, activation)
        zeroed = np.where(finite[:, None], scores, np.float32(0))
        return Judged(
            agreement=float(same.mean()),
            snr_db=metrics.logits_snr_db(self._reference, zeroed, activation),
            top1=found.top1 if found else None,
            drop=found.drop if found and not labels.multi_label else None,
            drop_interval=found.drop_interval if found else None,
        )


@contextmanager
def workshop(folder: Path) -> Iterator[Path]:
    """Give an empty hidden folder in ``folder``, and remove it.

    Raises:
        UnavailableError: the disk refuses.
    """
    hidden = folder / ".mixed.partial"
    try:
        shutil.rmtree(hidden, ignore_errors=True)  # left by a killed run
        hidden.mkdir(parents=True)
        yield hidden
    except OSError as error:
        raise disk_error(error, folder) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
