"""Labels from COCO's annotation files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tresnet_deploy.errors import ImageError
from tresnet_deploy.images import ImageSet, scan

MakeFolder = Callable[..., Path]

CATEGORIES = [
    {"id": 1, "name": "person", "supercategory": "person"},
    {"id": 18, "name": "dog", "supercategory": "animal"},
    {"id": 64, "name": "potted plant", "supercategory": "furniture"},
]
IMAGES = [
    {"id": 42, "file_name": "a.png", "width": 4, "height": 4},
    {"id": 7, "file_name": "b.png", "width": 4, "height": 4},
    {"id": 9, "file_name": "elsewhere.png", "width": 4, "height": 4},
]
ANNOTATIONS = [
    {"id": 1, "image_id": 42, "category_id": 64, "bbox": [0, 0, 1, 1], "iscrowd": 0},
    {"id": 2, "image_id": 42, "category_id": 1, "segmentation": [[0, 0, 1, 1]], "iscrowd": 1},
    {"id": 3, "image_id": 42, "category_id": 1, "area": 3.5},
]


def coco(**changes: Any) -> str:
    whole = {"info": {}, "images": IMAGES, "annotations": ANNOTATIONS, "categories": CATEGORIES}
    return json.dumps(whole | changes)


def labels(found: ImageSet) -> list[tuple[int, ...] | None]:
    return [file.labels for file in found.files]


@pytest.fixture
def folder(make_folder: MakeFolder) -> Path:
    """Two images and the file that tells what they show."""
    made = make_folder("a.png", "b.png")
    (made / "instances_val.json").write_text(coco())
    return made


def test_an_image_shows_the_categories_of_its_annotations(folder: Path) -> None:
    found = scan(folder, classes=3)
    assert labels(found) == [(0, 2), ()]
    assert found.class_names == ("person", "dog", "potted plant")
    assert found.multi_label


def test_categories_go_by_name_where_the_model_has_names(folder: Path) -> None:
    found = scan(folder, class_names=("cat", "Potted_Plant", "dog", "person"), classes=4)
    assert labels(found) == [(1, 3), ()]
    assert found.class_names == ("cat", "Potted_Plant", "dog", "person")


def test_it_is_said_that_order_decides_and_that_images_show_nothing(folder: Path) -> None:
    in_order, empty = scan(folder, classes=3).notes
    assert "taken for the model's classes in their order" in in_order
    assert "1 images have no annotation" in empty
    assert "published figures leave such images out" in empty


def test_the_file_is_found_where_coco_has_it(make_folder: MakeFolder) -> None:
    root = make_folder("val2017/a.png", "val2017/b.png", "train2017/elsewhere.png")
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val2017.json").write_text(coco())
    assert labels(scan(root / "val2017", classes=3)) == [(0, 2), ()]
    assert labels(scan(root / "train2017", classes=3)) == [None]


def test_a_linked_folder_has_the_file_beside_the_link_or_beside_what_it_leads_to(
    make_folder: MakeFolder, tmp_path: Path
) -> None:
    root = make_folder("val2017/a.png", "val2017/b.png")
    for beside, name in ((tmp_path / "data", "val"), (root, "val2017")):
        (beside / "annotations").mkdir(parents=True)
        table = beside / "annotations" / f"instances_{name}.json"
        table.write_text(coco())
        (tmp_path / "data" / "val").unlink(missing_ok=True)
        (tmp_path / "data" / "val").symlink_to(root / "val2017")
        assert labels(scan(tmp_path / "data" / "val", classes=3)) == [(0, 2), ()]
        table.unlink()


def test_two_images_of_one_bare_name_are_an_error(make_folder: MakeFolder) -> None:
    folder = make_folder("x/a.png", "y/a.png")
    (folder / "instances_val.json").write_text(coco())
    with pytest.raises(ImageError, match=r"one entry for x/a\.png and y/a\.png"):
        scan(folder, classes=3)


def test_own_labels_come_before_the_file_beside_the_folder(make_folder: MakeFolder) -> None:
    root = make_folder("val/a.png")
    (root / "annotations").mkdir()
    (root / "annotations" / "instances_val.json").write_text(coco())
    (root / "val" / "labels.csv").write_text("a.png,1\n")
    assert labels(scan(root / "val", classes=3)) == [(1,)]


def test_images_in_sub_folders_go_by_their_bare_name(make_folder: MakeFolder) -> None:
    folder = make_folder("deep/a.png")
    (folder / "instances_val.json").write_text(coco())
    assert labels(scan(folder, classes=3)) == [(0, 2)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not a COCO file of images, annotations and categories"),
        ('{"images": [], "annotations": []}', "missing required field `categories`"),
        (coco(images=IMAGES[1:], annotations=[]), "does not list 1 of the 2 images, such as a.png"),
        (coco(images=[*IMAGES, IMAGES[0]]), "two images have the same id"),
        (coco(images=[*IMAGES, IMAGES[0] | {"id": 8}]), "two images have the same file_name"),
        (coco(categories=[*CATEGORIES, CATEGORIES[0]]), "two categories have the same id"),
        (coco(categories=CATEGORIES[:2]), "an annotation is of image 42 and category 64"),
        (coco(images=IMAGES, annotations=[{"image_id": 5, "category_id": 1}]), "image 5"),
    ],
)
def test_a_file_that_cannot_be_right_is_an_error(folder: Path, content: str, message: str) -> None:
    (folder / "instances_val.json").write_text(content)
    with pytest.raises(ImageError, match=message):
        scan(folder, classes=3)


def test_categories_that_the_model_does_not_have_are_an_error(folder: Path) -> None:
    with pytest.raises(ImageError, match=r"names potted plant, which is none of the model's 2"):
        scan(folder, class_names=("person", "dog"))
    with pytest.raises(ImageError, match="has 3 categories, and the model 80 classes"):
        scan(folder, classes=80)


def test_only_one_file_may_speak(folder: Path) -> None:
    (folder / "instances_train.json").write_text(coco())
    with pytest.raises(ImageError, match=r"has instances_train\.json and instances_val\.json"):
        scan(folder, classes=3)


def test_calibration_needs_no_labels(folder: Path) -> None:
    (folder / "instances_val.json").write_text("{}")
    found = scan(folder, classes=3, require_labels=False)
    assert labels(found) == [None, None]
    assert "labels are left out of account" in found.notes[0]
