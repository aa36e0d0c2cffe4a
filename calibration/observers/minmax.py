"""The largest absolute value: nothing saturates, and one outlier costs everything resolution."""

from __future__ import annotations

from tresnet_deploy.contracts import Array


class Observer:
    """Remembers one number."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._largest = 0.0

    def update(self, values: Array) -> None:
        """See ``values``."""
        if values.size:
            self._largest = max(self._largest, float(values.max()), -float(values.min()))

    def range(self) -> float:
        """Return the largest absolute value."""
        return self._largest
