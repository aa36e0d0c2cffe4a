"""What a graph is calibrated on: a seeded sample of images, or noise where that is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from tresnet_deploy.contracts import Array, Preprocess, Progress, no_progress
from tresnet_deploy.images import ImageSet, batches, dataset_digest

PROGRESS: Final = "calibration images"

_CHANNELS: Final = 3
_BYTES: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """Some images as a graph takes them, with their names and with what was skipped before them."""

    names: tuple[str, ...]
    array: Array
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Images on disk, decoded a few at a time."""

    images: ImageSet
    preprocess: Preprocess
    strict: bool = False

    def __len__(self) -> int:
        """Return the number of files, readable or not."""
        return len(self.images)

    def digest(self) -> str:
        """Return the sha256 of the files' contents."""
        return dataset_digest(self.images)

    def portions(self, size: int, *, progress: Progress = no_progress) -> Iterator[Portion]:
        """Give the images, ``size`` at a time.

        Raises:
            ImageError: none is readable, or one is not and ``strict`` is True.
        """
        for batch in batches(
            self.images,
            self.preprocess,
            size,
            strict=self.strict,
            progress=progress,
            what=PROGRESS,
        ):
            yield Portion(
                names=tuple(self.images.name_of(file) for file in batch.files),
                array=batch.array,
                skipped=tuple(
                    f"{self.images.name_of(skip.file)} {skip.reason}" for skip in batch.skipped
                ),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Seeded uniform noise: shows that the tools work and what speed is, never what accuracy is."""

    count: int
    seed: int
    preprocess: Preprocess
    strict: bool = False

    def __len__(self) -> int:
        """Return the number of images."""
        return self.count

    def digest(self) -> str:
        """Return the sha256 of the recipe."""
        return hashlib.sha256(f"noise {self.count} {self.seed}".encode()).hexdigest()

    def portions(self, size: int, *, progress: Progress = no_progress) -> Iterator[Portion]:
        """Give the images, ``size`` at a time."""
        for start in range(0, self.count, size):
            numbers = range(start, min(start + size, self.count))
            progress(start, self.count, PROGRESS)
            yield Portion(
                names=tuple(f"noise {number}" for number in numbers),
                array=np.stack([self._image(number) for number in numbers]),
            )
        progress(self.count, self.count, PROGRESS)

    def _image(self, number: int) -> Array:
        rng = np.random.default_rng((self.seed, number))
        height, width = self.preprocess.height_px, self.preprocess.width_px
        if self.preprocess.layout == "uint8-nhwc":
            return rng.integers(0, _BYTES, (height, width, _CHANNELS), dtype=np.uint8)
        image = rng.random((_CHANNELS, height, width), dtype=np.float32)
        if not self.preprocess.normalize_in_graph:
            image -= np.asarray(self.preprocess.mean, np.float32)[:, None, None]
            image /= np.asarray(self.preprocess.std, np.float32)[:, None, None]
        return image


Data = Pictures | Noise
