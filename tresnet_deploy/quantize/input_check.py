"""Preprocessing that looks wrong: the float graph knows better what its labelled images show.

A few labelled images are classified as the artefact says they shall be prepared, and then with
swapped colours and other ranges of values. Only where another form gets more of them right beyond
chance is there something to tell; images without labels show nothing of the kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Final

import numpy as np

from tresnet_deploy.calibration import Finding, Pictures
from tresnet_deploy.contracts import Array, Preprocess
from tresnet_deploy.images import ImageSet, sample
from tresnet_deploy.metrics import Flags, correct, mcnemar
from tresnet_deploy.quantize.making import Job
from tresnet_deploy.scoring import scores_of

_IMAGES: Final = 32
_FEWEST: Final = 16  # 8 images more that are right, none fewer, are p < 0.01
_CHANCE: Final = 0.01
_AT_ONCE: Final = 8
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)  # torchvision's, and most tools' after it
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)

Forms = Mapping[str, Array]


def findings(job: Job) -> tuple[Finding, ...]:
    """Return what another preparation of the images would do better, at most one finding."""
    data = job.data
    if not isinstance(data, Pictures) or data.images.is_sample:
        return ()
    images, classes = data.images, job.artifact.labels.classes
    known = all(file.label is not None and file.label < classes for file in images.files)
    if not known or job.artifact.labels.multi_label or len(images) < _FEWEST:
        return ()
    right = _right(job, sample(images, _IMAGES, seed=0))
    (usual, ours), *others = right.items()
    better = [
        (name, flags)
        for name, flags in others
        if flags.sum() > ours.sum() and mcnemar(ours, flags) < _CHANCE
    ]
    if not better:
        return ()
    name, flags = max(better, key=lambda each: int(each[1].sum()))
    return (
        Finding(
            rule="CAL009",
            message=f"the float graph has {flags.mean():.0%} of {len(flags)} labelled images right "
            f"with {name}, and {ours.mean():.0%} with {usual}",
            advice="export again with the preprocessing that the network was trained with",
        ),
    )


def _right(job: Job, images: ImageSet) -> dict[str, Flags]:
    """Return which images are right in each form, the artefact's own first."""
    preprocess = job.artifact.preprocess
    pictures = Pictures(images=images, preprocess=preprocess)
    labels = {images.name_of(file): file.label for file in images.files}
    found: dict[str, list[Flags]] = {}
    with closing(job.open_session(job.model, ())) as session:
        for portion in pictures.portions(_AT_ONCE):
            shown = np.array([labels[name] for name in portion.names], np.int64)
            for name, array in _forms(portion.array, preprocess).items():
                scores = scores_of(session, array, batch=job.artifact.batch)
                found.setdefault(name, []).append(correct(scores, shown))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _forms(array: Array, preprocess: Preprocess) -> Forms:
    """Return ``array`` as it is, and as other conventions would have it."""
    swapped = {"rgb": "bgr", "bgr": "rgb"}[preprocess.color_order]
    usual = "the artefact's preprocessing"
    if preprocess.layout == "uint8-nhwc":
        return {usual: array, f"colours in the order {swapped}": array[..., ::-1].copy()}
    forms = {usual: array, f"colours in the order {swapped}": array[:, ::-1].copy()}
    if preprocess.normalize_in_graph:
        return forms
    plain = array * _column(preprocess.std) + _column(preprocess.mean)
    if any(preprocess.mean) or any(value != 1 for value in preprocess.std):
        forms["plain [0, 1] values"] = plain
    forms["ImageNet's mean and deviation"] = (plain - _column(_IMAGENET_MEAN)) / _column(
        _IMAGENET_STD
    )
    forms["values in [-1, 1]"] = 2 * plain - 1
    return forms


def _column(values: tuple[float, float, float]) -> Array:
    return np.asarray(values, np.float32)[:, None, None]
