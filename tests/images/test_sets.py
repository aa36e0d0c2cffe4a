"""Samples are seeded, balanced and stable; a digest follows contents and labels."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageFile, ImageSet, dataset_digest, sample, scan

MakeFolder = Callable[..., Path]


def image_set(*counts: int) -> ImageSet:
    files = tuple(
        ImageFile(path=Path(f"root/{label}/{number}.png"), labels=(label,))
        for label, count in enumerate(counts)
        for number in range(count)
    )
    return ImageSet(root=Path("root"), files=files, class_names=("a", "b", "c"), source="test")


def per_class(found: ImageSet) -> Counter[int | None]:
    return Counter(file.label for file in found.files)


def test_a_sample_is_as_balanced_as_the_classes_allow() -> None:
    assert per_class(sample(image_set(100, 100, 2), 12, seed=0)) == {0: 5, 1: 5, 2: 2}


def test_every_beginning_of_a_sample_is_balanced_too() -> None:
    drawn = sample(image_set(50, 50, 50), 30, seed=0)
    assert per_class(replace(drawn, files=drawn.files[:9])) == {0: 3, 1: 3, 2: 3}


def test_the_same_seed_draws_the_same_and_another_seed_others() -> None:
    first = sample(image_set(50, 50), 20, seed=1)
    assert first == sample(image_set(50, 50), 20, seed=1)
    assert first != sample(image_set(50, 50), 20, seed=2)


def test_the_draw_is_the_same_on_every_machine() -> None:
    drawn = sample(image_set(50, 50), 4, seed=0)
    assert [drawn.name_of(file) for file in drawn.files] == [
        "1/31.png",
        "0/46.png",
        "0/22.png",
        "1/38.png",
    ]


def test_one_more_file_does_not_reshuffle_the_sample() -> None:
    before = {file.path for file in sample(image_set(50, 50), 20, seed=0).files}
    after = {file.path for file in sample(image_set(51, 50), 20, seed=0).files}
    assert len(before & after) >= 19


def test_asking_for_more_gives_all() -> None:
    assert len(sample(image_set(2, 3), 100, seed=0)) == 5


@pytest.mark.parametrize("count", [0, -3])
def test_asking_for_nothing_is_an_error(count: int) -> None:
    with pytest.raises(UsageError, match=f"a sample of {count} images"):
        sample(image_set(2), count, seed=0)


def test_without_labels_the_folders_are_the_strata(make_folder: MakeFolder) -> None:
    folder = make_folder(*(f"{name}/{i}.png" for name in "xyz" for i in range(9)))
    found = scan(folder, classes=1000, require_labels=False)
    drawn = sample(found, 6, seed=0)
    assert Counter(file.path.parent.name for file in drawn.files) == {"x": 2, "y": 2, "z": 2}


def test_a_digest_follows_contents_labels_and_order_but_not_names(
    make_folder: MakeFolder,
) -> None:
    found = scan(make_folder("cat/1.png", "dog/2.png"))
    first, second = found.files
    digest = dataset_digest(found)
    assert dataset_digest(replace(found, files=(second, first))) != digest
    assert dataset_digest(replace(found, files=(first, replace(second, labels=None)))) != digest
    moved = found.root / "moved.png"
    second.path.rename(moved)
    assert dataset_digest(replace(found, files=(first, replace(second, path=moved)))) == digest
    moved.write_bytes(b"changed")
    assert dataset_digest(replace(found, files=(first, replace(second, path=moved)))) != digest


def test_a_digest_takes_unreadable_files() -> None:
    assert len(dataset_digest(image_set(2))) == 64
