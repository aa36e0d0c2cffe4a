"""Labels from COCO's annotation files: the categories of all objects of an image are its classes.

    annotations (image_id, category_id), images (id, file_name), categories (id, name) -> labels

Boxes, masks and crowds are not told apart: what has an annotation is shown. That is how the
published multi-label TResNets were trained and judged (ASL, helper_functions.py, CocoDetection).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import msgspec

from tresnet_deploy.errors import ImageError
from tresnet_deploy.images.labels import Labelling, find_class, some, spellings


class _Image(msgspec.Struct):
    id: int
    file_name: str


class _Annotation(msgspec.Struct):
    image_id: int
    category_id: int


class _Category(msgspec.Struct):
    id: int
    name: str


class _Instances(msgspec.Struct):
    """What is read of a file; everything else in it, such as the masks, is passed over."""

    images: list[_Image]
    annotations: list[_Annotation]
    categories: list[_Category]


def annotations_for(folder: Path) -> tuple[Path, ...]:
    """Return the annotation files that lie where COCO has them, for the images in ``folder``.

    These are ``instances_*.json`` in it, or else ``annotations/instances_FOLDER.json`` beside it.
    """
    inside = tuple(sorted(folder.glob("instances_*.json")))
    if inside:
        return inside
    # Beside the folder as it is called, and else beside what a link of that name leads to.
    for where in (Path.cwd() / folder, folder.resolve()):
        beside = where.parent / "annotations" / f"instances_{where.name}.json"
        if beside.is_file():
            return (beside,)
    return ()


def from_instances(
    table: Path, names: Sequence[str], class_names: tuple[str, ...], classes: int | None
) -> Labelling:
    """Return the labels that the COCO file ``table`` has for ``names`` (paths below the folder).

    Categories are the model's classes of these names. Of a model without names they are its classes
    in the order of the file, if there are as many. An image without annotations shows none.

    Raises:
        ImageError: the file is no such file or contradicts itself, leaves an image out, or its
            categories are not the model's classes.
    """
    found = _read(table)
    files = _files(table, found)
    missing = [name for name in names if _id_of(name, files) is None]
    if missing:
        raise ImageError(
            f"{table} does not list {len(missing)} of the {len(names)} images, such as "
            f"{some(missing)}",
            hints=("give the folder of images that the file belongs to",),
        )
    _refuse_shared(table, names, files)
    known = class_names or tuple(category.name for category in found.categories)
    index_of = _indices(table, found, class_names, classes)
    shown: dict[int, set[int]] = {image.id: set() for image in found.images}
    for annotation in found.annotations:
        shown[annotation.image_id].add(index_of[annotation.category_id])
    labels = tuple(tuple(sorted(shown[files[_key(name, files)]])) for name in names)
    return Labelling(
        labels=labels, class_names=known, notes=tuple(_notes(table, labels, class_names))
    )


def _refuse_shared(table: Path, names: Sequence[str], files: Mapping[str, int]) -> None:
    """Refuse images in several folders that the file, by their bare names, takes for one."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(_key(name, files), name)
        if other != name:
            raise ImageError(
                f"{table} has one entry for {other} and {name}, so it is not clear which it is of",
                hints=("give the folder of images that the file belongs to",),
            )


def _read(table: Path) -> _Instances:
    try:
        found = msgspec.json.decode(table.read_bytes(), type=_Instances)
    except (OSError, msgspec.MsgspecError) as error:
        raise ImageError(
            f"{table} is not a COCO file of images, annotations and categories: {error}",
            hints=("give the instances_*.json that belongs to the images",),
        ) from error
    images = {image.id for image in found.images}
    categories = {category.id for category in found.categories}
    for what, ids, count in (
        ("images", images, len(found.images)),
        ("categories", categories, len(found.categories)),
    ):
        if len(ids) < count:
            raise ImageError(f"{table} contradicts itself: two {what} have the same id")
    for annotation in found.annotations:
        if annotation.image_id not in images or annotation.category_id not in categories:
            raise ImageError(
                f"{table} contradicts itself: an annotation is of image {annotation.image_id} and "
                f"category {annotation.category_id}, and it does not list both"
            )
    return found


def _files(table: Path, found: _Instances) -> dict[str, int]:
    files = {image.file_name: image.id for image in found.images}
    if len(files) < len(found.images):
        raise ImageError(f"{table} contradicts itself: two images have the same file_name")
    return files


def _key(name: str, files: Mapping[str, int]) -> str:
    """Return ``name`` as the file has it: below the folder, or the bare name."""
    return name if name in files else PurePosixPath(name).name


def _id_of(name: str, files: Mapping[str, int]) -> int | None:
    return files.get(_key(name, files))


def _indices(
    table: Path, found: _Instances, class_names: tuple[str, ...], classes: int | None
) -> dict[int, int]:
    """Return category id -> class index, for the categories that have annotations."""
    used = {annotation.category_id for annotation in found.annotations}
    count = len(found.categories)
    if not class_names:
        if classes not in (None, count):
            raise ImageError(
                f"{table} has {count} categories, and the model {classes} classes without names",
                hints=("list the classes by index in labels.csv: FILE,CLASS[,CLASS...]",),
            )
        return {category.id: index for index, category in enumerate(found.categories)}
    table_of = spellings(class_names)
    by_id = {category.id: find_class(category.name, table_of) for category in found.categories}
    unknown = sorted(c.name for c in found.categories if by_id[c.id] is None and c.id in used)
    if unknown:
        raise ImageError(
            f"{table} names {some(unknown)}, which {'is' if len(unknown) == 1 else 'are'} none of "
            f"the model's {len(class_names)} classes ({some(class_names)})",
            hints=("list the classes by index in labels.csv: FILE,CLASS[,CLASS...]",),
        )
    return {key: index for key, index in by_id.items() if index is not None}


def _notes(
    table: Path, labels: Sequence[tuple[int, ...]], class_names: tuple[str, ...]
) -> Iterator[str]:
    if not class_names:
        yield (
            f"the categories of {table} are taken for the model's classes in their order, as the "
            "published COCO models have them"
        )
    empty = sum(not shown for shown in labels)
    if empty:
        yield (
            f"{empty} images have no annotation in {table} and count as showing none of the "
            "classes; published figures leave such images out"
        )
