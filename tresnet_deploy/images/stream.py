"""Images as batches of a graph's input, decoded just before they are needed."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tresnet_deploy.contracts import Array, Preprocess, Progress, no_progress
from tresnet_deploy.errors import ImageError, UsageError
from tresnet_deploy.images.sets import ImageFile, ImageSet
from tresnet_deploy.preprocess import apply, open_header, pixels

_WAITING = 4  # files that are open for each worker: a large batch must not run out of them
_MAX_WORKERS = 8  # decoding feeds one engine; more threads only hold more pictures in memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An image that could not be used, and why: "is empty", without the name again."""

    file: ImageFile
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageBatch:
    """Images ready for a graph: ``array[i]`` shows ``files[i]``; the last batch may be smaller.

    ``array`` is (N, 3, H, W) float32 or (N, H, W, 3) uint8, by the layout of the preprocessing.
    ``skipped`` are the unreadable images met since the batch before, or right after this one.
    """

    files: tuple[ImageFile, ...]
    array: Array
    skipped: tuple[Skipped, ...] = ()


def batches(
    image_set: ImageSet,
    preprocess: Preprocess,
    size: int,
    *,
    strict: bool = False,
    progress: Progress = no_progress,
    what: str = "images",
) -> Generator[ImageBatch]:
    """Give all images of ``image_set`` in order, ``size`` at a time, none of the batches empty.

    Threads decode the next images while the caller works on a batch, at most one batch ahead, so
    memory does not grow with the number of images. ``progress`` hears of a batch when the caller
    comes back for the next one; it calls the units ``what``.

    Raises:
        ImageError: an image is unreadable and ``strict`` is True, or all of them are.
        UsageError: ``size`` is below 1.
    """
    if size < 1:
        raise UsageError(f"cannot make batches of {size} images: ask for 1 or more")
    files: list[ImageFile] = []
    arrays: list[Array] = []
    skipped: list[Skipped] = []
    done, total = 0, len(image_set)
    for file, result in _decoded(image_set.files, preprocess, ahead=size):
        if isinstance(result, ImageError):
            if strict:
                raise result
            reason = result.message.removeprefix(f"{file.path} ")
            skipped.append(Skipped(file=file, reason=reason))
            continue
        if len(files) == size:
            yield ImageBatch(files=tuple(files), array=np.stack(arrays), skipped=tuple(skipped))
            done += size + len(skipped)
            progress(done, total, what)
            files, arrays, skipped = [], [], []
        files.append(file)
        arrays.append(result)
    if not files:
        first = f": {image_set.name_of(skipped[0].file)} {skipped[0].reason}" if skipped else ""
        raise ImageError(f"none of the {total} images is readable ({image_set.source}){first}")
    yield ImageBatch(files=tuple(files), array=np.stack(arrays), skipped=tuple(skipped))
    progress(total, total, what)


def first_readable(image_set: ImageSet, preprocess: Preprocess, count: int) -> Array:
    """Return the first ``count`` images that can be read, fewer where there are not as many.

    Raises:
        ImageError: none is readable.
    """
    with closing(batches(image_set, preprocess, count)) as found:
        return next(found).array


def _decoded(
    files: tuple[ImageFile, ...], preprocess: Preprocess, *, ahead: int
) -> Iterator[tuple[ImageFile, Array | ImageError]]:
    """Give each file with its array or its error, in order, decoding up to ``ahead`` in advance."""

    def decode(image: Image.Image, path: Path) -> Array | ImageError:
        try:
            return apply(pixels(image, path), preprocess)
        except ImageError as error:
            return error

    workers = min(os.cpu_count() or 1, _MAX_WORKERS)
    waiting: deque[tuple[ImageFile, Future[Array | ImageError] | ImageError]] = deque()
    # Leaving the block waits for what was begun, so that each opened file is closed again.
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        for file in files:
            try:
                image = open_header(file.path)
            except ImageError as error:
                waiting.append((file, error))
            else:
                waiting.append((file, pool.submit(decode, image, file.path)))
            if len(waiting) > min(ahead, _WAITING * workers):
                yield _finished(*waiting.popleft())
        while waiting:
            yield _finished(*waiting.popleft())


def _finished(
    file: ImageFile, result: Future[Array | ImageError] | ImageError
) -> tuple[ImageFile, Array | ImageError]:
    return file, result if isinstance(result, ImageError) else result.result()
