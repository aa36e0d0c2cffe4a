"""``--method auto``: recipes are measured on held-out images, a few at a time.

    every method -> the two best of them, equalised -> the best so far with corrected biases
                 -> the best so far with weights that saturate where their squared error is least
                 -> the best so far with weights rounded by what their layers read

Ten recipes at most instead of all eighty: each step keeps what the one before has found. What the
options fix is not varied.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import onnx_ir as ir

from tresnet_deploy.calibration import Pictures, doctor
from tresnet_deploy.contracts import Array, CalibrationTable
from tresnet_deploy.images import ImageSet, dataset_digest
from tresnet_deploy.metrics import agreeing, correct, logits_snr_db
from tresnet_deploy.quantize.making import Job, Made, Prepared, make, prepared, tables
from tresnet_deploy.quantize.options import Recipe
from tresnet_deploy.quantize.trials import Measured, Trial, Trials, best_of
from tresnet_deploy.registry import OBSERVERS
from tresnet_deploy.scoring import scores_of

_AT_ONCE: Final = 8  # images
_EQUALIZED_METHODS: Final = 2
_UNMEASURABLE_DB: Final = 200.0  # more than float32 can show: the outputs are equal

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Search:
    """What has been measured so far; only the best graph is kept."""

    job: Job
    judge: Callable[[Made, float], Measured]
    graphs: dict[bool, Prepared] = field(default_factory=dict)
    ranges: dict[tuple[bool, str], CalibrationTable] = field(default_factory=dict)
    measured: list[Measured] = field(default_factory=list)
    best: Made | None = None

    def calibrate(self, *, equalize: bool, methods: Iterable[str]) -> None:
        """Find the ranges by all of ``methods`` in one pass."""
        if equalize not in self.graphs:
            self.graphs[equalize] = prepared(self.job, equalized=equalize)
        for table in tables(self.job, self.graphs[equalize], tuple(methods)):
            self.ranges[equalize, table.method] = table

    def measure(self, recipe: Recipe) -> None:
        """Make the graph of ``recipe``, measure it, and keep it if it is the best."""
        begun = time.perf_counter()
        key = recipe.equalize, recipe.method
        if key not in self.ranges:
            self.calibrate(equalize=recipe.equalize, methods=(recipe.method,))
        made = make(self.job, self.graphs[recipe.equalize], self.ranges[key], recipe)
        found = self.judge(made, begun)
        _log.debug("%s: %.1f dB", recipe, found.trial.snr_db)
        self.measured.append(found)
        if self.winner is found:
            self.best = made

    @property
    def winner(self) -> Measured:
        """The best recipe so far."""
        return best_of(self.measured)


def choose(job: Job, held_out: ImageSet) -> tuple[Made, Trials]:
    """Return the INT8 graph of the best recipe, and all recipes that were measured.

    Raises:
        ImageError: no held-out image is readable, or one is not and the options are strict.
        QuantizeError: outputs of the float graph are not finite.
    """
    pictures = Pictures(
        images=held_out, preprocess=job.artifact.preprocess, strict=job.options.strict
    )
    reference, labels = _float_scores(job, pictures)
    search = _Search(
        job=job,
        judge=lambda made, begun: _judged(
            job, pictures, made, begun, reference=reference, labels=labels
        ),
    )
    _run(search)
    winner = search.winner
    if search.best is None or search.best.recipe != winner.recipe:
        # A later trial has moved the line that an earlier best lay below.
        recipe = winner.recipe
        key = recipe.equalize, recipe.method
        search.best = make(job, search.graphs[recipe.equalize], search.ranges[key], recipe)
    ordered = sorted(search.measured, key=lambda each: -each.trial.snr_db)
    return search.best, Trials(
        images=len(reference),
        images_sha256=dataset_digest(held_out),
        criterion=_criterion(labels),
        trials=tuple(replace(each.trial, taken=each is winner) for each in ordered),
        float_top1=None if labels is None else float(correct(reference, labels).mean()),
    )


def _run(search: _Search) -> None:
    options = search.job.options
    plain = options.recipe()
    methods = OBSERVERS.names()
    search.calibrate(equalize=plain.equalize, methods=methods)
    _measure(search, [replace(plain, method=method) for method in methods])
    if options.equalize is None:
        _measure(search, [replace(recipe, equalize=True) for recipe in _leaders(search)])
    if options.bias_correction is None:
        _measure(search, [replace(search.winner.recipe, bias_correction=True)])
    if options.weights is None:
        _measure(search, [replace(search.winner.recipe, weights="mse")])
    if options.weight_rounding is None:
        _measure(search, [replace(search.winner.recipe, weight_rounding="gptq")])


def _measure(search: _Search, recipes: Iterable[Recipe]) -> None:
    for recipe in recipes:
        search.job.progress(len(search.measured), None, "recipes measured")
        search.measure(recipe)


def _leaders(search: _Search) -> list[Recipe]:
    ordered = sorted(search.measured, key=lambda each: -each.trial.snr_db)
    return [each.recipe for each in ordered[:_EQUALIZED_METHODS]]


def _float_scores(job: Job, pictures: Pictures) -> tuple[Array, Array | None]:
    """Return the float graph's scores (N, C), and the classes (N,) if every image has one."""
    scores, names = _scores(job, pictures, job.model)
    if not np.isfinite(scores).all():
        raise doctor.no_numbers()
    images = pictures.images
    known = {images.name_of(file): file.label for file in images.files}
    labels = [known[name] for name in names]
    classes = scores.shape[1]
    if job.artifact.labels.multi_label or any(x is None or x >= classes for x in labels):
        return scores, None
    return scores, np.array(labels, np.int64)


def _scores(job: Job, pictures: Pictures, model: ir.Model) -> tuple[Array, tuple[str, ...]]:
    parts: list[Array] = []
    names: list[str] = []
    with closing(job.open_session(model, ())) as session:
        for portion in pictures.portions(_AT_ONCE):
            parts.append(scores_of(session, portion.array, batch=job.artifact.batch))
            names.extend(portion.names)
    return np.concatenate(parts), tuple(names)


def _judged(
    job: Job,
    pictures: Pictures,
    made: Made,
    begun: float,
    *,
    reference: Array,
    labels: Array | None,
) -> Measured:
    found, _ = _scores(job, pictures, made.model)
    activation = job.artifact.labels.activation
    same = agreeing(reference, found, activation)
    finite = bool(np.isfinite(found).all())
    right = same if labels is None else correct(found, labels)
    noise = logits_snr_db(reference, found, activation) if finite else 0.0
    recipe = made.recipe
    return Measured(
        recipe=recipe,
        right=right if finite else np.zeros_like(right),
        trial=Trial(
            method=recipe.method,
            equalize=recipe.equalize,
            bias_correction=recipe.bias_correction,
            weights=recipe.weights,
            weight_rounding=recipe.weight_rounding,
            snr_db=_UNMEASURABLE_DB if noise is None else min(noise, _UNMEASURABLE_DB),
            agreement=float(same.mean()),
            top1=None if labels is None else float(right.mean()),
            seconds=time.perf_counter() - begun,
        ),
    )


def _criterion(labels: Array | None) -> str:
    what = "top-1 agreement with the float graph" if labels is None else "top-1 accuracy"
    return f"{what}, equal within chance; then signal to noise of the outputs"
