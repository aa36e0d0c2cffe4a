"""How to calibrate and what to quantise: the options of the step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tresnet_deploy.calibration import DEFAULT_METHOD
from tresnet_deploy.errors import UsageError
from tresnet_deploy.registry import OBSERVERS

DEFAULT_SAMPLES: Final = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantizeOptions:
    """How to calibrate and what to quantise.

    ``samples`` images are drawn, as equally from all classes as they allow. ``exclude`` are regular
    expressions over node names: these layers stay float. ``quantize_all`` takes blur, SE and head
    too. ``strict`` refuses unreadable images instead of skipping them.
    ``random_calibration`` calibrates on noise, where there are no images at all. ``pad_channels``
    rounds channel counts up, exactly; None: where that is faster on this CPU.
    """

    method: str = DEFAULT_METHOD
    samples: int = DEFAULT_SAMPLES
    seed: int = 0
    exclude: tuple[str, ...] = ()
    quantize_all: bool = False
    strict: bool = False
    random_calibration: bool = False
    pad_channels: bool | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown method before any work is done."""
        if self.method not in OBSERVERS.names():
            OBSERVERS.load(self.method)
        if self.samples < 1:
            raise UsageError(f"cannot calibrate on {self.samples} images: ask for 1 or more")
