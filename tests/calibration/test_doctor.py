"""Each rule of the calibration doctor: what sets it off, and what does not."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tresnet_deploy.calibration import Pictures, doctor

from tresnet_deploy.contracts import CalibrationTable, TensorRange
from tresnet_deploy.images import ImageFile, ImageSet

from .conftest import PREPROCESS, Folder


def notes_of(data: Pictures) -> tuple[str, ...]:
    tally = doctor.Tally()
    for portion in data.portions(2):
        tally.update(portion)
    return doctor.notes(tally, data)


def labelled(folder: Path, *labels: tuple[int, ...] | None) -> Pictures:
    files = []
    for number, label in enumerate(labels):
        path = folder / f"{number:02d}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        files.append(ImageFile(path=path, labels=label))
    images = ImageSet(root=folder, files=tuple(files), class_names=("cat", "dog"), source="test")
    return Pictures(images=images, preprocess=PREPROCESS)


def rules(found: tuple[str, ...]) -> list[str]:
    return [note.partition(":")[0] for note in found]


def test_enough_different_images_of_several_classes_are_in_order(tmp_path: Path) -> None:
    assert notes_of(labelled(tmp_path, *[(number % 2,) for number in range(40)])) == ()


def test_cal001_few_images(folder: Folder) -> None:
    (note,) = notes_of(folder(10, 20, 30))
    assert note == ("CAL001: calibrated on only 3 images; ranges settle with a few hundred")


def test_cal002_plain_images(folder: Folder) -> None:
    assert (
        "CAL002: all calibration images show one plain colour"
        in notes_of(folder(0, 1, plain=True))[1]
    )


def test_cal003_copies_are_found_by_content_whatever_their_name(folder: Folder) -> None:
    data = folder(*range(1, 41))
    (data.images.root / "07.png").write_bytes((data.images.root / "03.png").read_bytes())
    (data.images.root / "08.png").write_bytes((data.images.root / "03.png").read_bytes())
    (note,) = notes_of(data)
    assert note.startswith("CAL003: 2 of 40 calibration images are copies of others")


def test_cal004_one_class_is_named(tmp_path: Path) -> None:
    (note,) = notes_of(labelled(tmp_path, *[(1,)] * 40))
    assert note.startswith("CAL004: all 40 calibration images show one class, dog")


def test_cal005_images_without_a_label_are_counted(tmp_path: Path) -> None:
    (note,) = notes_of(labelled(tmp_path, *[(0,), (1,), None, None] * 10))
    assert note.startswith("CAL005: 20 of 40 calibration images have no label")


def test_images_without_any_labels_are_in_order(tmp_path: Path) -> None:
    assert notes_of(labelled(tmp_path, *[None] * 40)) == ()


def table(*ranges: tuple[str, float, float]) -> CalibrationTable:
    return CalibrationTable(
        method="mse",
        ranges=tuple(
            TensorRange(tensor=name, amax=amax, observed_min=0, observed_max=most)
            for name, amax, most in ranges
        ),
        images=1,
        skipped=(),
        graph_sha256="g",
        dataset_sha256="d",
        preprocess_sha256="p",
        tool_version="1",
    )


def test_cal006_dead_and_cal007_cut_activations_are_named() -> None:
    found = doctor.of_ranges(table(("dead", 0, 0), ("cut", 1, 4.1), ("fine", 1, 4)))
    assert [finding.rule for finding in found] == ["CAL006", "CAL007"]
    assert "stays float: dead" in str(found[0])
    assert "beyond the range that mse chose: cut;" in str(found[1])


def test_many_names_are_counted_instead_of_listed() -> None:
    (found,) = doctor.of_ranges(table(*[(f"t{number}", 0, 0) for number in range(9)]))
    assert "t0, t1, t2, ... (9 in all)" in found.message


@pytest.mark.parametrize("damage", [b"", None])
def test_unreadable_files_are_no_copies(folder: Folder, damage: bytes | None) -> None:
    data = folder(*range(1, 41))
    path = data.images.root / "05.png"
    path.unlink() if damage is None else path.write_bytes(damage)
    assert rules(notes_of(data)) == []


def test_a_sample_in_the_package_may_be_small(folder: Folder) -> None:
    data = folder(10, 20)
    images = dataclasses.replace(data.images, is_sample=True)
    assert notes_of(dataclasses.replace(data, images=images)) == ()


def test_cal010_recipes_judged_on_few_images() -> None:
    (found,) = doctor.of_held_out(10)
    assert str(found).startswith("CAL010: recipes were judged on only 10 images")
    assert doctor.of_held_out(32) == ()
