"""Which files of a folder are images, and what their places say about them."""

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from tresnet_deploy.errors import ImageError
from tresnet_deploy.images import of_files, scan

MakeFolder = Callable[..., Path]


def names(folder: Path) -> list[str]:
    found = scan(folder)
    return [found.name_of(file) for file in found.files]


def test_a_flat_folder_gives_its_images_sorted_and_unlabelled(make_folder: MakeFolder) -> None:
    found = scan(make_folder("b.png", "a.JPG", "c.webp"), class_names=("cat",))
    assert [found.name_of(file) for file in found.files] == ["a.JPG", "b.png", "c.webp"]
    assert not found.labelled
    assert found.class_names == ("cat",)
    assert found.source == f"3 images in {found.root}"


def test_hidden_files_and_other_endings_are_left_out(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png", ".b.png", "._c.png", ".thumbs/d.png", "notes.txt", "e.svg")
    assert names(folder) == ["a.png"]


def test_class_folders_are_matched_to_the_models_class_names(make_folder: MakeFolder) -> None:
    folder = make_folder("dog/1.png", "cat/1.png", "cat/2.png")
    found = scan(folder, class_names=("ant", "dog", "cat"))
    assert [file.label for file in found.files] == [2, 2, 1]
    assert found.class_names == ("ant", "dog", "cat")
    assert found.notes == ()


@pytest.mark.parametrize("folder", ["T-shirt_top", "t shirt top", "T-Shirt - Top", "tshirt top"])
def test_a_folder_may_spell_a_class_as_file_names_must(
    make_folder: MakeFolder, folder: str
) -> None:
    found = scan(make_folder(f"{folder}/1.png"), class_names=("Bag", "T-shirt/top"))
    assert found.files[0].label == 1


def test_images_deeper_in_a_class_folder_have_its_class(make_folder: MakeFolder) -> None:
    found = scan(make_folder("cat/2024/may/1.png"), class_names=("cat", "dog"))
    assert found.files[0].label == 0


def test_class_folders_may_be_indices(make_folder: MakeFolder) -> None:
    found = scan(make_folder("10/1.png", "2/1.png", "007/1.png"), classes=11)
    assert [file.label for file in found.files] == [7, 10, 2]


def test_digits_that_are_class_names_are_names(make_folder: MakeFolder) -> None:
    found = scan(make_folder("0/a.png", "9/a.png"), class_names=("9", "0"))
    assert [file.label for file in found.files] == [1, 0]


def test_as_many_unknown_folders_as_classes_are_taken_in_order_with_a_warning(
    make_folder: MakeFolder,
) -> None:
    found = scan(make_folder("n02/1.png", "n01/1.png"), class_names=("fish", "bird"))
    assert [file.label for file in found.files] == [0, 1]
    assert found.class_names == ("fish", "bird")
    assert "(n01, n02) are taken for the model's classes in sorted order" in found.notes[0]


def test_without_a_model_the_folders_are_the_classes(make_folder: MakeFolder) -> None:
    found = scan(make_folder("dog/1.png", "cat/1.png"))
    assert found.class_names == ("cat", "dog")
    assert [file.label for file in found.files] == [0, 1]


def test_folders_that_are_none_of_the_classes_are_an_error(make_folder: MakeFolder) -> None:
    folder = make_folder("cat/1.png", "unicorn/1.png", "yeti/1.png")
    with pytest.raises(ImageError) as caught:
        scan(folder, class_names=("ant", "bee", "cat", "dog"))
    assert caught.value.message == (
        f"{folder} has 3 class folders, and unicorn, yeti are none of the model's 4 classes "
        "(ant, bee, cat, ...)"
    )
    assert caught.value.hints[0] == "name the folders by class name or by index, 0 to 3"


def test_an_index_beyond_the_classes_is_an_error(make_folder: MakeFolder) -> None:
    with pytest.raises(ImageError, match="2 class folders, and 0, 12 are none of the model's 10"):
        scan(make_folder("0/1.png", "12/1.png"), classes=10)


def test_a_name_is_known_though_another_differs_from_it_in_case_alone(
    make_folder: MakeFolder,
) -> None:
    folder = make_folder("cardigan/a.png", "dog/a.png")
    found = scan(folder, class_names=("Cardigan", "cardigan", "dog"), classes=3)
    assert [file.labels for file in found.files] == [(1,), (2,)]
    with pytest.raises(ImageError, match="CARDIGAN is none of"):
        scan(make_folder("CARDIGAN/a.png"), class_names=("Cardigan", "cardigan", "dog"), classes=3)


def test_accents_may_be_written_either_way(make_folder: MakeFolder) -> None:
    apart, together = (unicodedata.normalize(form, "pâté") for form in ("NFD", "NFC"))
    found = scan(make_folder(f"{apart}/a.png"), class_names=("dog", together), classes=2)
    assert [file.labels for file in found.files] == [(1,)]


def test_a_name_that_two_classes_share_is_no_name(make_folder: MakeFolder) -> None:
    with pytest.raises(ImageError, match="crane is none of the model's 3 classes"):
        scan(make_folder("crane/1.png"), class_names=("crane", "bird", "crane"))


def test_the_parts_of_a_data_set_are_not_taken_for_classes(make_folder: MakeFolder) -> None:
    folder = make_folder("train/cat/1.png", "val/cat/1.png")
    with pytest.raises(ImageError, match="the parts of a data set") as caught:
        scan(folder, class_names=("cat",))
    assert caught.value.hints == (f"give one part: {folder / 'train'}",)


def test_loose_images_beside_class_folders_are_an_error(make_folder: MakeFolder) -> None:
    with pytest.raises(
        ImageError, match=r"both directly in it \(a\.png\) and in sub-folders \(b\)"
    ):
        scan(make_folder("a.png", "b/1.png"))


def test_where_labels_are_of_no_use_a_contradiction_is_only_a_note(
    make_folder: MakeFolder,
) -> None:
    found = scan(make_folder("x/1.png", "y/1.png"), classes=1000, require_labels=False)
    assert not found.labelled
    assert "x, y are none of the model's 1000 classes" in found.notes[0]


def test_a_missing_folder_an_empty_one_and_a_file_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="missing cannot be read: No such file or directory"):
        scan(tmp_path / "missing")
    with pytest.raises(ImageError, match=r"no images in .* \(looked for \.bmp \.gif"):
        scan(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(ImageError, match=r"a\.png cannot be read: Not a directory"):
        scan(tmp_path / "a.png")


def test_an_unreadable_folder_is_an_error(make_folder: MakeFolder) -> None:
    folder = make_folder("cat/1.png")
    (folder / "cat").chmod(0)
    before = os.geteuid()
    if before == 0:  # root may read everything, so step down
        os.seteuid(65534)
    try:
        with pytest.raises(ImageError, match="cannot be read: Permission denied"):
            scan(folder)
    finally:
        os.seteuid(before)
        (folder / "cat").chmod(0o755)


def test_a_link_that_leads_back_up_is_not_followed(make_folder: MakeFolder) -> None:
    folder = make_folder("cat/1.png", "dog/1.png")
    (folder / "cat" / "loop").symlink_to(folder)
    (folder / "dog" / "self").symlink_to(".")
    assert names(folder) == ["cat/1.png", "dog/1.png"]


def test_a_link_to_itself_is_left_to_the_decoder(make_folder: MakeFolder) -> None:
    folder = make_folder("1.png")
    (folder / "loop.png").symlink_to("loop.png")
    assert names(folder) == ["1.png", "loop.png"]


def test_a_link_to_a_folder_elsewhere_is_followed(make_folder: MakeFolder, tmp_path: Path) -> None:
    folder = make_folder("cat/1.png")
    (tmp_path / "view").mkdir()
    (tmp_path / "view" / "cat").symlink_to(folder / "cat")
    assert names(tmp_path / "view") == ["cat/1.png"]


def test_folders_that_are_named_need_no_labels_in_order(make_folder: MakeFolder) -> None:
    folder = make_folder("a.png", "sub/b.png")
    assert [file.path.name for file in of_files([folder]).files] == ["a.png", "b.png"]


def test_named_files_and_folders_are_taken_in_the_order_named(make_folder: MakeFolder) -> None:
    folder = make_folder("cat/2.png", "cat/1.png", "odd.bin")
    found = of_files([folder / "odd.bin", folder / "cat"], class_names=("cat",))
    assert [file.path.name for file in found.files] == ["odd.bin", "1.png", "2.png"]
    assert not any(file.labels for file in found.files)
    assert found.name_of(found.files[0]) == (folder / "odd.bin").as_posix()


def test_naming_nothing_or_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no image was named"):
        of_files([])
    with pytest.raises(ImageError, match=r"there is no image .*missing\.png"):
        of_files([tmp_path / "missing.png"])
