import dataclasses
import logging
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tresnet_deploy.calibration import Pictures, cache, table_for

from tresnet_deploy.contracts import CalibrationTable
from tresnet_deploy.errors import ImageError, UnavailableError

from .conftest import Folder, TwiceAndHalf

Make = Callable[..., CalibrationTable]


class Opened:
    """Counts how often a session was asked for."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, tensors: object) -> TwiceAndHalf:
        self.times += 1
        return TwiceAndHalf()


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def make(opened: Opened, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return the table of some data, kept in one folder for the test."""
    place = tmp_path_factory.mktemp("artefacts")

    def table(data: Pictures, **changes: object) -> CalibrationTable:
        options = {"graph_sha256": "g", "method": "mse", "tensors": ("twice", "half"), **changes}
        tensors = options.pop("tensors")
        where = options.pop("folder", place)
        return table_for(where, opened, tensors, data, **options)  # type: ignore[arg-type]

    return table


def test_the_second_time_the_table_comes_from_the_cache_and_says_so(
    make: Make, opened: Opened, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "tresnet_deploy")
    data = folder(10, 200)
    assert make(data) == make(data)
    assert opened.times == 1
    assert "calibration table taken from" in caplog.text


@pytest.mark.parametrize(
    "changes", [{"graph_sha256": "other"}, {"method": "minmax"}, {"tensors": ("half",)}]
)
def test_another_graph_method_or_set_of_tensors_is_calibrated_anew(
    make: Make, opened: Opened, folder: Folder, changes: dict[str, object]
) -> None:
    data = folder(10, 200)
    make(data)
    make(data, **changes)
    assert opened.times == 2


def test_other_images_are_calibrated_anew(make: Make, opened: Opened, folder: Folder) -> None:
    make(folder(10, 200))
    make(folder(10, 201))
    assert opened.times == 2


def test_another_preprocessing_is_calibrated_anew(
    make: Make, opened: Opened, folder: Folder
) -> None:
    data = folder(10, 200)
    make(data)
    crop = dataclasses.replace(data.preprocess, resize="crop", crop_pct=0.875)
    make(dataclasses.replace(data, preprocess=crop))
    assert opened.times == 2


def test_another_version_of_the_tool_is_calibrated_anew(
    make: Make, opened: Opened, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = folder(10, 200)
    make(data)
    monkeypatch.setattr(cache, "__version__", "99")
    make(data)
    assert opened.times == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"schema_version": 1}'])
def test_a_damaged_table_is_made_again_with_a_warning(
    make: Make, folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: bytes
) -> None:
    data = folder(10, 200)
    place = tmp_path / "artefacts"
    first = make(data, folder=place)
    (file,) = (place / cache.FOLDER).iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage)
    assert make(data, folder=place) == first
    assert "calibrating again" in caplog.text
    assert file.read_bytes() == whole


@pytest.mark.parametrize("amax", ["-1.0", "1e999"])
def test_a_table_of_impossible_ranges_is_made_again(
    make: Make, folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture, amax: str
) -> None:
    data = folder(10, 200)
    place = tmp_path / "artefacts"
    first = make(data, folder=place)
    (file,) = (place / cache.FOLDER).iterdir()
    file.write_text(re.sub(r'"amax": ?[0-9.e+-]+', f'"amax": {amax}', file.read_text(), count=1))
    assert make(data, folder=place) == first
    assert "calibrating again" in caplog.text


def test_a_table_under_the_name_of_another_is_not_believed(
    make: Make, folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = folder(10, 200)
    place = tmp_path / "artefacts"
    make(data, folder=place, method="minmax")
    (wrong,) = (place / cache.FOLDER).iterdir()
    make(data, folder=place, method="mse")
    (right,) = (file for file in (place / cache.FOLDER).iterdir() if file != wrong)
    right.write_bytes(wrong.read_bytes())
    assert make(data, folder=place, method="mse").method == "mse"
    assert "belongs to something else" in caplog.text


def test_warnings_are_given_again_from_the_cache(
    make: Make, folder: Folder, caplog: pytest.LogCaptureFixture
) -> None:
    data = folder(10, 200)
    (data.images.root / "01.png").write_bytes(b"no image")
    make(data)
    caplog.clear()
    make(data)
    assert "only 1 image;" in caplog.text
    assert "skipped: 01.png is no image" in caplog.text


def test_strict_does_not_take_a_table_with_skipped_images(make: Make, folder: Folder) -> None:
    data = folder(10, 200)
    (data.images.root / "01.png").write_bytes(b"no image")
    make(data)
    with pytest.raises(ImageError, match=r"01\.png"):
        make(dataclasses.replace(data, strict=True))


def test_dead_activations_are_warned_of(
    folder: Folder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table_for(
        tmp_path / "artefacts",
        lambda _: TwiceAndHalf(("dead",)),
        ("dead",),
        folder(3),
        graph_sha256="g",
        method="mse",
    )
    assert "0 on all calibration images, so what reads them stays float: dead" in caplog.text


def test_a_folder_that_cannot_be_written_is_named(
    make: Make, folder: Folder, tmp_path: Path
) -> None:
    data = folder(1, 2)
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.raises(UnavailableError, match="cannot write to"):
        make(data, folder=blocked)
