import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tresnet_deploy.calibration import (
    Noise,
    Pictures,
    calibrate,
    calibrate_all,
    dead_tensors,
    reaches,
)
from tresnet_deploy.calibration.doctor import FEW_IMAGES

from tresnet_deploy.contracts import Array, Batch, CalibrationTable
from tresnet_deploy.errors import ImageError, QuantizeError, UsageError
from tresnet_deploy.preprocess import digest

from .conftest import PREPROCESS, Folder, TwiceAndHalf


def table_of(data: Pictures | Noise, **changes: object) -> CalibrationTable:
    options = {"graph_sha256": "g", "method": "minmax", **changes}
    return calibrate(TwiceAndHalf, ("twice", "half"), data, **options)  # type: ignore[arg-type]


def test_each_tensor_gets_its_range_and_what_was_seen(folder: Folder) -> None:
    twice, half = table_of(folder(0, 51, 255)).ranges
    assert (twice.tensor, twice.amax, twice.observed_min, twice.observed_max) == ("twice", 2, 0, 2)
    assert (half.amax, half.observed_min, half.observed_max) == (1, -1, -0.5)


def test_the_table_says_what_it_is_valid_for(folder: Folder) -> None:
    data = folder(10, 20)
    table = table_of(data)
    assert (table.method, table.graph_sha256, table.images) == ("minmax", "g", 2)
    assert table.preprocess_sha256 == digest(PREPROCESS)
    assert table.dataset_sha256 == data.digest()


def test_the_order_of_the_images_changes_no_range(folder: Folder) -> None:
    data = folder(*range(0, 250, 11))
    files = tuple(reversed(data.images.files))
    turned = dataclasses.replace(data, images=dataclasses.replace(data.images, files=files))
    for method in ("minmax", "moving-average", "percentile", "entropy", "mse"):
        assert table_of(data, method=method).ranges == table_of(turned, method=method).ranges


def test_several_methods_watch_one_pass_and_find_what_each_finds_alone(folder: Folder) -> None:
    data = folder(*range(0, 250, 11))
    sessions: list[TwiceAndHalf] = []

    def opened(tensors: object) -> TwiceAndHalf:
        sessions.append(TwiceAndHalf())
        return sessions[-1]

    methods = ("percentile", "minmax", "moving-average")
    tables = calibrate_all(opened, ("twice", "half"), data, graph_sha256="g", methods=methods)
    assert len(sessions) == 1
    assert tables == tuple(table_of(data, method=method) for method in methods)


def test_the_reach_of_a_channel_is_its_largest_absolute_value(folder: Folder) -> None:
    data = folder(0, 51, 102)
    found = reaches(TwiceAndHalf, ("images", "half"), data)
    np.testing.assert_allclose(found["images"], [0.4] * 3)
    np.testing.assert_allclose(found["half"], [1.0] * 3)


def test_a_graph_input_can_be_watched_as_well(folder: Folder) -> None:
    table = calibrate(TwiceAndHalf, ("images",), folder(255), graph_sha256="g", method="minmax")
    assert table.ranges[0].amax == 1


def test_only_a_few_images_are_held_at_a_time(folder: Folder) -> None:
    session = TwiceAndHalf()
    calibrate(lambda _: session, ("half",), folder(*[9] * 7), graph_sha256="g", method="mse")
    assert session.batches == [2, 2, 2, 1]
    assert session.closed


def test_a_fixed_batch_is_filled_up_and_the_filling_is_not_counted(folder: Folder) -> None:
    session = TwiceAndHalf()
    table = calibrate(
        lambda _: session,
        ("twice",),
        folder(*range(5)),
        graph_sha256="g",
        method="minmax",
        batch=Batch(min=4, opt=4, max=4),
    )
    assert session.batches == [4, 4]
    assert table.images == 5


class _Broken(TwiceAndHalf):
    """Gives NaN for bright images."""

    def fetch(self) -> dict[str, Array]:
        found = super().fetch()
        found["half"] = np.where(found["twice"] > 1.5, np.float32("nan"), found["half"])
        return found


def test_nan_names_the_activation_and_the_images_and_closes_the_session(folder: Folder) -> None:
    session = _Broken()
    with pytest.raises(QuantizeError, match=r"activation half is NaN.*\(images: 02\.png\)"):
        calibrate(lambda _: session, ("half",), folder(0, 1, 255), graph_sha256="g", method="mse")
    assert session.closed


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_infinity_is_found_too(folder: Folder, value: float) -> None:
    class Infinite(TwiceAndHalf):
        def fetch(self) -> dict[str, Array]:
            found = super().fetch()
            found["twice"][0, 0, 0, 0] = value
            return found

    with pytest.raises(QuantizeError, match="twice"):
        calibrate(Infinite, ("twice",), folder(3), graph_sha256="g", method="mse")


def test_dead_activations_have_the_range_zero(folder: Folder) -> None:
    def dead_session(tensors: object) -> TwiceAndHalf:
        return TwiceAndHalf(("dead", "half"))

    table = calibrate(dead_session, ("dead", "half"), folder(3), graph_sha256="g", method="mse")
    assert dead_tensors(table) == {"dead"}


def test_unreadable_images_are_skipped_and_listed(folder: Folder) -> None:
    data = folder(10, 20, 30)
    (data.images.root / "01.png").write_bytes(b"no image")
    table = table_of(data)
    assert table.images == 2
    assert len(table.skipped) == 1
    assert table.skipped[0].startswith("01.png is no image")


def test_an_unreadable_image_is_an_error_when_strict(folder: Folder) -> None:
    data = folder(10, 20, strict=True)
    (data.images.root / "01.png").write_bytes(b"")
    with pytest.raises(ImageError, match=r"01\.png is empty"):
        table_of(data)


def test_no_readable_image_is_an_error(folder: Folder) -> None:
    data = folder(10)
    (data.images.root / "00.png").write_bytes(b"")
    with pytest.raises(ImageError, match="none of the 1 images is readable"):
        table_of(data)


def test_few_images_are_named(folder: Folder) -> None:
    assert "only 3 images" in table_of(folder(1, 2, 3)).notes[0]
    assert table_of(folder(*range(1, FEW_IMAGES + 1))).notes == ()


def test_the_images_in_the_box_have_a_warning_of_their_own(folder: Folder) -> None:
    data = folder(1, 2, 3)
    sample = dataclasses.replace(data, images=dataclasses.replace(data.images, is_sample=True))
    assert table_of(sample).notes == ()


def test_black_frames_are_named(folder: Folder) -> None:
    levels = [0] * FEW_IMAGES
    assert (
        "all calibration images show one plain colour"
        in table_of(folder(*levels, plain=True)).notes[0]
    )


def test_some_black_frames_are_counted(folder: Folder) -> None:
    folder(*[0] * 2, plain=True)
    data = folder(*[9] * FEW_IMAGES)
    black = np.zeros((20, 20, 3), np.uint8)
    for name in ("98.png", "99.png"):
        Image.fromarray(black).save(data.images.root / name)
    assert f"2 of {FEW_IMAGES + 2} calibration images" in table_of(folder()).notes[0]


def test_an_unknown_method_is_refused_by_name(folder: Folder) -> None:
    with pytest.raises(UsageError, match="no calibration method is called 'best'; there are:"):
        table_of(folder(1), method="best")


def test_noise_says_what_it_is_and_is_the_same_each_time() -> None:
    noise = Noise(count=5, seed=3, preprocess=PREPROCESS)
    assert "random noise" in table_of(noise).notes[0]
    assert table_of(noise) == table_of(noise)
    assert noise.digest() != dataclasses.replace(noise, seed=4).digest()


def _images(noise: Noise, size: int) -> Iterator[Array]:
    for portion in noise.portions(size):
        yield from portion.array


def test_noise_does_not_depend_on_how_it_is_cut() -> None:
    noise = Noise(count=5, seed=3, preprocess=PREPROCESS)
    np.testing.assert_array_equal(list(_images(noise, 2)), list(_images(noise, 5)))


def test_noise_has_the_layout_and_range_that_the_graph_takes() -> None:
    decoded = dataclasses.replace(PREPROCESS, layout="uint8-nhwc", normalize_in_graph=True)
    (first,) = Noise(count=1, seed=0, preprocess=decoded).portions(1)
    assert (first.array.dtype, first.array.shape) == (np.uint8, (1, 20, 20, 3))
    shifted = dataclasses.replace(PREPROCESS, mean=(0.5, 0.5, 0.5), std=(0.1, 0.1, 0.1))
    (second,) = Noise(count=1, seed=0, preprocess=shifted).portions(1)
    assert second.array.min() < -4


def test_progress_counts_the_images(folder: Folder) -> None:
    seen: list[tuple[int, int | None, str]] = []
    table_of(folder(1, 2, 3), progress=lambda *told: seen.append(told))
    assert seen[-1] == (3, 3, "calibration images")


def test_no_file_is_left_open_or_made(folder: Folder, tmp_path: Path) -> None:
    data = folder(1, 2, 3)
    before = sorted(tmp_path.iterdir())
    table_of(data)
    assert sorted(tmp_path.iterdir()) == before
