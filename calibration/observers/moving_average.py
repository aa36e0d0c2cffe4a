"""The mean of the images' largest absolute values: one odd image moves it by its share only.

This is the cumulative form of the moving average that frameworks track while they train. Their
exponential one forgets what came first and so depends on the order of the images; here every image
weighs the same.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from tresnet_deploy.contracts import Array

_FINEST: Final = 149  # every float32 is a multiple of 2**-149, so sums of integers are exact


class Observer:
    """Sums one number an image, exactly, so that the order does not matter."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._sum = 0
        self._images = 0

    def update(self, values: Array) -> None:
        """See ``values``, images along the first axis."""
        if not values.size:
            return
        images = values.reshape(len(values), -1)
        for largest in np.maximum(images.max(axis=1), -images.min(axis=1)):
            self._sum += int(math.ldexp(float(largest), _FINEST))
        self._images += len(images)

    def range(self) -> float:
        """Return the mean."""
        return math.ldexp(self._sum / self._images, -_FINEST) if self._images else 0.0
