"""Batches stream: in order, none empty, memory bounded, with reasons for what is skipped."""

import errno
import os
import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tresnet_deploy.contracts import Preprocess
from tresnet_deploy.errors import ImageError, UnavailableError, UsageError
from tresnet_deploy.images import batches, first_readable, scan
from tresnet_deploy.preprocess import apply, decode

MakeFolder = Callable[..., Path]
SMALL = Preprocess(height_px=20, width_px=20, resize="squish")


def numbered(count: int) -> list[str]:
    return [f"{number:04d}.png" for number in range(count)]


def test_batches_come_in_order_and_the_last_may_be_smaller(make_folder: MakeFolder) -> None:
    found = scan(make_folder(*numbered(7)))
    given = list(batches(found, SMALL, 3))
    assert [batch.array.shape for batch in given] == [
        (3, 3, 20, 20),
        (3, 3, 20, 20),
        (1, 3, 20, 20),
    ]
    assert tuple(file for batch in given for file in batch.files) == found.files
    expected = [apply(decode(file.path), SMALL) for file in found.files]
    np.testing.assert_array_equal(np.concatenate([batch.array for batch in given]), expected)


def test_a_uint8_layout_gives_pixels_channel_last(make_folder: MakeFolder) -> None:
    rule = Preprocess(height_px=20, width_px=24, layout="uint8-nhwc")
    (batch,) = batches(scan(make_folder(*numbered(2))), rule, 8)
    assert batch.array.shape == (2, 20, 24, 3)
    assert batch.array.dtype == np.uint8


def test_unreadable_images_are_skipped_with_their_reasons(make_folder: MakeFolder) -> None:
    folder = make_folder(*numbered(6))
    (folder / "0001.png").write_bytes(b"")
    (folder / "0005.png").write_bytes(b"no image")
    given = list(batches(scan(folder), SMALL, 2))
    assert [[file.path.name for file in batch.files] for batch in given] == [
        ["0000.png", "0002.png"],
        ["0003.png", "0004.png"],
    ]
    skipped = [(s.file.path.name, s.reason) for batch in given for s in batch.skipped]
    assert [name for name, _ in skipped] == ["0001.png", "0005.png"]
    assert skipped[0][1] == "is empty"


def test_no_batch_is_empty_however_many_are_unreadable(make_folder: MakeFolder) -> None:
    folder = make_folder(*numbered(9))
    for name in numbered(9)[3:]:
        (folder / name).write_bytes(b"")
    given = list(batches(scan(folder), SMALL, 3))
    assert [len(batch.files) for batch in given] == [3]
    assert len(given[0].skipped) == 6


def test_the_first_readable_images_are_found_behind_any_number_of_others(
    make_folder: MakeFolder,
) -> None:
    folder = make_folder(*numbered(12))
    for number in (*range(5), 7):
        (folder / f"{number:04d}.png").write_bytes(b"")
    found = scan(folder)
    wanted = [apply(decode(folder / f"{n:04d}.png"), SMALL) for n in (5, 6, 8)]
    np.testing.assert_array_equal(first_readable(found, SMALL, 3), np.stack(wanted))
    assert len(first_readable(found, SMALL, 99)) == 6


def test_strict_makes_an_unreadable_image_an_error(make_folder: MakeFolder) -> None:
    folder = make_folder(*numbered(3))
    (folder / "0001.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"0001\.png is empty"):
        list(batches(scan(folder), SMALL, 1, strict=True))


def test_nothing_readable_at_all_is_an_error_with_the_first_reason(
    make_folder: MakeFolder,
) -> None:
    folder = make_folder(*numbered(2))
    for name in numbered(2):
        (folder / name).write_bytes(b"")
    with pytest.raises(
        ImageError, match=r"none of the 2 images is readable .*: 0000\.png is empty"
    ):
        list(batches(scan(folder), SMALL, 1))


def test_a_batch_of_nothing_is_an_error(make_folder: MakeFolder) -> None:
    with pytest.raises(UsageError, match="batches of 0 images"):
        list(batches(scan(make_folder("a.png")), SMALL, 0))


def test_progress_counts_every_file_once(make_folder: MakeFolder) -> None:
    folder = make_folder(*numbered(7))
    (folder / "0002.png").write_bytes(b"")
    heard: list[tuple[int, int | None, str]] = []

    def progress(done: int, total: int | None, what: str) -> None:
        heard.append((done, total, what))

    list(batches(scan(folder), SMALL, 2, progress=progress, what="calibrating"))
    assert heard == [(3, 7, "calibrating"), (5, 7, "calibrating"), (7, 7, "calibrating")]


def test_a_reader_that_stops_early_leaves_no_file_open(make_folder: MakeFolder) -> None:
    stream = batches(scan(make_folder(*numbered(20))), SMALL, 4)
    next(stream)
    stream.close()  # an open file would be a ResourceWarning, which is an error here


def test_only_a_batch_ahead_is_opened(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    real = Image.open

    def count(path: Path, formats: tuple[str, ...]) -> Image.Image:
        opened.append(path)
        return real(path, formats=formats)

    monkeypatch.setattr(Image, "open", count)
    stream = batches(scan(make_folder(*numbered(50))), SMALL, 5)
    next(stream)
    assert len(opened) <= 5 + 5 + 2
    stream.close()


def test_a_large_batch_holds_few_files_open(make_folder: MakeFolder) -> None:
    found = scan(make_folder(*numbered(90)))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    open_now = len(list(Path("/proc/self/fd").iterdir()))
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_now + 50, hard))
    try:
        (batch,) = batches(found, SMALL, 90)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert len(batch.files) == 90


def test_too_many_open_files_are_no_fault_of_an_image(
    make_folder: MakeFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> Image.Image:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    found = scan(make_folder(*numbered(2)))
    monkeypatch.setattr(Image, "open", full)
    with pytest.raises(UnavailableError, match="cannot be opened: Too many open files"):
        next(batches(found, SMALL, 2))


def test_memory_does_not_grow_with_the_number_of_images(make_folder: MakeFolder) -> None:
    folder = make_folder(*numbered(96))
    rule = Preprocess(height_px=128, width_px=128, resize="squish")
    image_bytes = 128 * 128 * 3 * 4

    def peak(count: int) -> int:
        found = scan(folder)
        some = type(found)(root=folder, files=found.files[:count], class_names=(), source="test")
        tracemalloc.start()
        for _ in batches(some, rule, 4):
            pass
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak_bytes

    peak(8)  # whatever is allocated once
    assert peak(96) - peak(16) < 4 * image_bytes
