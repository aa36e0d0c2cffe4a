"""The proof that goes with each converted graph: it runs, and how near it is to the float graph."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Final

import numpy as np

from tresnet_deploy import metrics
from tresnet_deploy.calibration import Data, doctor, filled
from tresnet_deploy.contracts import Array, Artifact, Batch, Precision, Session, run
from tresnet_deploy.errors import QuantizeError
from tresnet_deploy.images import counted

POOR_SNR_DB: Final = 10.0  # noise a third of the signal: agreement of top-1 is gone

SNR_SETTING: Final = "snr_db"
"""What sidecars of quantised graphs call how near they are to the float graph."""

_OTHER_RANGES: Final = ("another --method, or more calibration images",)
_WAYS_TO_NUMBERS: Final[Mapping[Precision, tuple[str, ...]]] = {
    "fp16": ("--precision bf16, which has the range of FP32",),
    "bf16": (),
    "int8": _OTHER_RANGES,
    "fp8": _OTHER_RANGES,
}
_IMAGES: Final = 4  # enough to see a broken graph; accuracy is what compare and evaluate measure

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearness:
    """How near the converted graph's outputs are to the float graph's, on the same images."""

    images: int
    snr_db: float
    top1_agreement: float

    def __str__(self) -> str:
        """Return one line for people."""
        return (
            f"SNR {self.snr_db:.1f} dB and {self.top1_agreement:.0%} top-1 agreement with the "
            f"float graph, {counted(self.images)}"
        )


def compare(reference: Session, candidate: Session, data: Data, made: Artifact) -> Nearness:
    """Return how near ``candidate`` is to ``reference``; both are closed afterwards.

    ``made`` describes the candidate, and with it what the outputs of both mean. A poor result is
    logged as a warning: gates on accuracy belong to compare.

    Raises:
        QuantizeError: outputs are not finite, the float graph's or the candidate's.
    """
    with ExitStack() as stack:
        for session in (reference, candidate):
            stack.enter_context(closing(session))
        pairs = list(_outputs(reference, candidate, data, made.batch))
    activation = made.labels.activation
    wanted = np.concatenate([pair[0] for pair in pairs])
    found = np.concatenate([pair[1] for pair in pairs])
    if not np.isfinite(wanted).all():
        raise doctor.no_numbers()
    if not np.isfinite(found).all():
        raise QuantizeError(
            "the converted graph gives NaN or infinity where the float graph does not",
            hints=_WAYS_TO_NUMBERS[made.precision],
        )
    snr_db = metrics.logits_snr_db(wanted, found, activation)
    nearness = Nearness(
        images=len(wanted),
        snr_db=math.inf if snr_db is None else snr_db,
        top1_agreement=float(metrics.agreeing(wanted, found, activation).mean()),
    )
    if nearness.snr_db < POOR_SNR_DB:
        _log.warning(
            "the converted graph is far from the float graph: %s; try another --method or more "
            "calibration images, and look at tresnet-deploy compare",
            nearness,
        )
    return nearness


def _outputs(
    reference: Session, candidate: Session, data: Data, batch: Batch | None
) -> Iterator[tuple[Array, Array]]:
    """Give the outputs of both, (N, classes) each, for the first images."""
    size = batch.min if batch else 2
    left = _IMAGES
    (spec,) = reference.inputs
    for portion in data.portions(size):
        feeds = {spec.name: filled(portion.array, size if batch else 0)}
        real = min(len(portion.array), left)
        (wanted,), (found,) = run(reference, feeds).values(), run(candidate, feeds).values()
        yield wanted[:real], found[:real]
        left -= real
        if not left:
            return
