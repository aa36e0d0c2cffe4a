"""What contestants are fed: the same images for all of them, prepared once."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from tresnet_deploy.contracts import Array, Preprocess
from tresnet_deploy.images import ImageSet, first_readable

Pictures = Callable[[Preprocess, int], Array]


def pictures_of(images: ImageSet) -> Pictures:
    """Return a function that gives the first images, prepared, as a batch of any size.

    Every contestant is fed by it, so all of them see the same pictures; where there are fewer than
    a batch takes, they are repeated. Decoded batches are kept for the next contestant.
    """

    @functools.cache
    def pictures(preprocess: Preprocess, batch: int) -> Array:
        array = first_readable(images, preprocess, batch)
        return array[np.arange(batch) % len(array)]  # (N, ...)

    return pictures
