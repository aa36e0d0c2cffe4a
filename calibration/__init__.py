"""From images to the activation ranges of a graph.

    Pictures | Noise --calibrate(Session, observers)--> CalibrationTable <--> cache

Nothing here knows a runtime: the session is opened by a function that the caller gives.
"""

from typing import Final

from .collect import OpenSession, calibrate, calibrate_all, filled, reaches
from .data import Data, Noise, Pictures
from .doctor import Finding
from .tables import dead_tensors, table_for, tables_for, warn

DEFAULT_METHOD: Final = "mse"
"""The best SNR of four, over a trained and two seeded networks: see bench/calibration.py."""

__all__ = [
    "DEFAULT_METHOD",
    "Data",
    "Finding",
    "Noise",
    "OpenSession",
    "Pictures",
    "calibrate",
    "calibrate_all",
    "dead_tensors",
    "filled",
    "reaches",
    "table_for",
    "tables_for",
    "warn",
]
