"""What a set of images is, its digest, and a seeded sample of it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFile:
    """An image file and its true classes, as indices of the model's outputs.

    ``labels`` is None where nobody said what the image shows; an empty tuple says that it shows
    none of the classes, which only multi-label data can say.
    """

    path: Path
    labels: tuple[int, ...] | None = None

    @property
    def label(self) -> int | None:
        """The class of a singly labelled image, None for every other."""
        return self.labels[0] if self.labels is not None and len(self.labels) == 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """Image files in a fixed order.

    ``class_names`` are the model's where it has any, else the names that the folders gave.
    ``source`` says in words where the images come from. ``is_sample`` marks the images in the box.
    ``notes`` are warnings about this set that the user should read.
    """

    root: Path
    files: tuple[ImageFile, ...]
    class_names: tuple[str, ...]
    source: str
    is_sample: bool = False
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.files)

    @property
    def labelled(self) -> bool:
        """True when every image has labels."""
        return all(file.labels is not None for file in self.files)

    @property
    def multi_label(self) -> bool:
        """True when all are labelled, and some image with no class or with several."""
        return self.labelled and any(file.label is None for file in self.files)

    def name_of(self, file: ImageFile) -> str:
        """Return how reports call ``file``: its path below ``root``, with forward slashes."""
        inside = file.path.is_relative_to(self.root)
        return (file.path.relative_to(self.root) if inside else file.path).as_posix()


def counted(images: int) -> str:
    """Return "1 image" or "2 images", for messages."""
    return f"{images} image{'' if images == 1 else 's'}"


def dataset_digest(image_set: ImageSet) -> str:
    """Return the sha256 of the images' contents and labels in order; names do not matter.

    An unreadable file counts as one without contents, so that a cached table stays valid for as
    long as the file stays unreadable.
    """
    digest = hashlib.sha256()
    for file in image_set.files:
        try:
            content = sha256_of(file.path)
        except OSError:
            content = "unreadable"
        digest.update(f"{content} {file.labels}\n".encode())
    return digest.hexdigest()


def sample(image_set: ImageSet, count: int, *, seed: int) -> ImageSet:
    """Return ``count`` images with the classes as equal as they allow, or all if there are fewer.

    An image's stratum is its first label, or its folder where there are no labels. Files are drawn
    in the order of a hash of seed and name: the same on every machine and Python, and adding a file
    to the folder does not reshuffle the others. The strata take turns, so any beginning of the
    sample is as balanced as the whole.

    Raises:
        UsageError: ``count`` is below 1.
    """
    if count < 1:
        raise UsageError(f"cannot take a sample of {count} images: ask for 1 or more")
    strata: dict[str, list[tuple[str, ImageFile]]] = {}
    for file in image_set.files:
        rank = _rank(seed, image_set.name_of(file))
        strata.setdefault(_stratum(file), []).append((rank, file))
    turns = [
        (turn, rank, file)
        for stratum in strata.values()
        for turn, (rank, file) in enumerate(sorted(stratum, key=lambda ranked: ranked[0]))
    ]
    turns.sort(key=lambda drawn: drawn[:2])
    return replace(image_set, files=tuple(file for _, _, file in turns[:count]))


def _rank(seed: int, name: str) -> str:
    return hashlib.sha256(b"%d %s" % (seed, os.fsencode(name))).hexdigest()


def _stratum(file: ImageFile) -> str:
    return str(file.path.parent) if file.labels is None else str(file.labels[:1])
