"""Calibration methods: one a file, each with a class ``Observer``.

An observer sees every value of one activation and then says where INT8 should saturate. Its name on
the command line is the name of its file.
"""

from __future__ import annotations

from typing import Protocol

from tresnet_deploy.contracts import Array


class Observer(Protocol):
    """What a calibration method is; nothing derives from it.

    The result does not depend on the order of the updates, and memory does not grow with them.
    """

    def update(self, values: Array) -> None:
        """See ``values``: finite float32 of any shape, whole images along the first axis."""

    def range(self) -> float:
        """Return amax: values beyond +-amax saturate. 0 where nothing but zeros was seen."""
