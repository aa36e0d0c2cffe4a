"""Images to judge a quantised network on, none of which it was calibrated on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tresnet_deploy.artifacts import sha256_of
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images.packaged import default_images
from tresnet_deploy.images.sets import ImageFile, ImageSet, counted, sample


def held_out(
    artifact: Artifact,
    *,
    folder: Path | None,
    pool: ImageSet | None,
    calibrated: ImageSet | None,
    count: int,
    seed: int,
) -> ImageSet:
    """Return at most ``count`` images, drawn as equally from all classes as they allow.

    They come from ``folder``; where that is None from ``pool``, the images that calibration drew
    from, and without these from the package. An image with the bytes of one in ``calibrated``, the
    images drawn, is left out whatever it is called.

    Raises:
        UsageError: no image is left.
        ImageError: ``folder`` cannot be used, or its labels contradict the model's classes.
    """
    found = _candidates(artifact, folder, pool)
    fresh = _fresh(found.files, calibrated.files if calibrated else ())
    seen = len(found) - len(fresh)
    if not fresh:
        raise _none_left(found)
    note = (f"{counted(seen)} not judged on: calibrated on",) if seen else ()
    drawn = sample(replace(found, files=fresh), count, seed=seed)
    return replace(drawn, notes=(*found.notes, *note))


def _none_left(found: ImageSet) -> UsageError:
    fewer = f"--calibration-samples {len(found) // 2}, which leaves the others"
    every = f"all {len(found)} ({found.source}) were" if len(found) > 1 else f"{found.source} was"
    return UsageError(
        f"no image is left to judge on: {every} calibrated on",
        hints=(
            "--held-out DIR, for a folder of other images",
            *((fewer,) if len(found) > 1 else ()),
        ),
    )


def _candidates(artifact: Artifact, folder: Path | None, pool: ImageSet | None) -> ImageSet:
    if folder is None and pool is not None and not pool.is_sample:
        return pool
    found = default_images(artifact, "compare", folder)
    if folder is not None or not found.notes:
        return found
    note = (
        f"judging on {found.source}; your own images, given with --held-out DIR, show what your "
        "users will see"
    )
    return replace(found, notes=(note,))


def _fresh(
    files: tuple[ImageFile, ...], calibrated: tuple[ImageFile, ...]
) -> tuple[ImageFile, ...]:
    """Return those of ``files`` whose bytes are not among ``calibrated``.

    Only files of the size of a calibrated one are read: folders can be large.
    """
    sizes = {_size(file) for file in calibrated}
    used = {_content(file) for file in calibrated}
    return tuple(file for file in files if _size(file) not in sizes or _content(file) not in used)


def _size(file: ImageFile) -> int:
    """Return the size of an image in bytes, -1 where it cannot be told."""
    try:
        return file.path.stat().st_size
    except OSError:
        return -1


def _content(file: ImageFile) -> str:
    """Return the hash of an image's bytes; of an unreadable one its name, which is never equal."""
    try:
        return sha256_of(file.path)
    except OSError:
        return str(file.path)
