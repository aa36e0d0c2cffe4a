"""Labels from labels.csv and labels.json: one class an image, or several, or none."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tresnet_deploy.errors import ImageError
from tresnet_deploy.images import ImageSet, scan

MakeFolder = Callable[..., Path]
CLASSES = ("bird", "cat", "dog")


def labels(found: ImageSet) -> list[tuple[int, ...] | None]:
    return [file.labels for file in found.files]


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("labels.csv", "file,classes\na.png,dog,cat\nb.png,\nc.png,bird\n"),
        ("labels.csv", "\ufeffImage\r\nc.png, bird\r\nb.png\r\n\r\na.png,2,Cat,dog\r\n"),
        ("labels.csv", "file,class\na.png,dog\nb.png\nc.png,bird\na.png,cat\n"),
        ("labels.csv", "File,Index\na.png,2,1\nb.png\nc.png,0\n"),
        ("labels.json", '{"a.png": ["dog", 1], "b.png": [], "c.png": "bird"}'),
    ],
)
def test_an_image_shows_the_listed_classes(
    make_folder: MakeFolder, table: str, content: str
) -> None:
    folder = make_folder("a.png", "b.png", "c.png")
    (folder / table).write_text(content, "utf-8")
    found = scan(folder, class_names=CLASSES)
    assert labels(found) == [(1, 2), (), (0,)]
    assert found.multi_label
    assert [file.label for file in found.files] == [None, None, 0]


def test_one_class_an_image_is_single_label_data(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png", "deep/b.png")
    (folder / "labels.csv").write_text("a.png,cat\ndeep/b.png,dog\n")
    found = scan(folder, class_names=CLASSES)
    assert labels(found) == [(1,), (2,)]
    assert found.labelled
    assert not found.multi_label


def test_without_a_model_the_listed_names_are_the_classes(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png", "b.png")
    (folder / "labels.csv").write_text("a.png,zebra\nb.png,ape,zebra\n")
    found = scan(folder)
    assert found.class_names == ("ape", "zebra")
    assert labels(found) == [(1,), (0, 1)]


def test_indices_need_no_names(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png", "b.png")
    (folder / "labels.json").write_text('{"a.png": [9604], "b.png": [0]}')
    found = scan(folder, classes=9605)
    assert labels(found) == [(9604,), (0,)]
    assert found.class_names == ()


def test_a_number_is_a_name_first_with_a_warning_where_it_could_be_an_index(
    make_folder: MakeFolder,
) -> None:
    folder = make_folder("a.png", "b.png")
    (folder / "labels.csv").write_text("file,class\na.png,2\nb.png,0\n")
    found = scan(folder, class_names=("0", "10", "1", "2"))
    assert labels(found) == [(3,), (0,)]
    (note,) = found.notes
    assert "labels.csv: 2 can be a class's name or its index, and is taken for the name" in note


def test_after_the_heading_file_index_numbers_are_indices(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png", "b.png")
    (folder / "labels.csv").write_text("file,index\na.png,2\nb.png,0\n")
    found = scan(folder, class_names=("0", "10", "1", "2"))
    assert labels(found) == [(2,), (0,)]
    assert found.notes == ()
    (folder / "labels.csv").write_text("file,index\na.png,zebra\nb.png,0\n")
    with pytest.raises(ImageError, match="names zebra, which is none of the model's 1 classes"):
        scan(folder)


def test_a_table_may_list_more_than_is_there(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png")
    (folder / "labels.csv").write_text("a.png,cat\nb.png,dog\n")
    found = scan(folder, class_names=CLASSES)
    assert "also lists 1 files that are not there" in found.notes[0]


def test_an_image_that_the_table_leaves_out_is_an_error(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png", "b.png", "c.png")
    (folder / "labels.csv").write_text("a.png,cat\n")
    with pytest.raises(
        ImageError, match=r"nothing about 2 of the 3 images, such as b\.png, c\.png"
    ):
        scan(folder, class_names=CLASSES)


@pytest.mark.parametrize("cell", ["yeti", "3", "-1", "²", 5000 * "1"])
def test_an_unknown_class_is_an_error(make_folder: MakeFolder, cell: str) -> None:
    folder = make_folder("a.png")
    (folder / "labels.csv").write_text(f"a.png,cat,{cell}\n", "utf-8")
    with pytest.raises(ImageError, match=f"names {cell}, which is none of the model's 3 classes"):
        scan(folder, class_names=CLASSES)


@pytest.mark.parametrize(
    ("table", "content"),
    [
        ("labels.json", b"{"),
        ("labels.json", b'["a.png"]'),
        ("labels.json", b'{"a.png": {"cat": 1}}'),
        ("labels.json", b"\xff\xfe"),
        ("labels.csv", b"a.png,\xff\xfe\n"),
        ("labels.csv", b'a.png,"cat\n'),
    ],
)
def test_a_malformed_table_is_an_error(make_folder: MakeFolder, table: str, content: bytes) -> None:
    folder = make_folder("a.png")
    (folder / table).write_bytes(content)
    with pytest.raises(ImageError, match=rf"{table} is not an? (object|readable CSV)"):
        scan(folder, class_names=CLASSES)


def test_two_tables_are_an_error(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png")
    (folder / "labels.csv").write_text("a.png,cat\n")
    (folder / "labels.json").write_text("{}")
    with pytest.raises(ImageError, match=r"has labels\.csv and labels\.json: only one"):
        scan(folder)
