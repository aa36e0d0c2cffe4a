"""From a folder on disk to an :class:`ImageSet`: which files are images, and what they show."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tresnet_deploy.errors import ImageError
from tresnet_deploy.images.coco import annotations_for, from_instances
from tresnet_deploy.images.labels import Labelling, from_class_folders, from_labels_file
from tresnet_deploy.images.sets import ImageFile, ImageSet, counted

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
"""Files with these endings, in either case, are taken for images; hidden ones never."""

_LABEL_FILES = ("labels.csv", "labels.json")


def scan(
    folder: Path,
    *,
    class_names: tuple[str, ...] = (),
    classes: int | None = None,
    require_labels: bool = True,
) -> ImageSet:
    """Return the images in ``folder`` and its sub-folders, sorted by path, none of them opened.

    Labels come from the first of these that is there:

    1. ``labels.csv`` or ``labels.json`` in ``folder``: file name -> class names or indices, one or
       several (see :func:`tresnet_deploy.images.labels.from_labels_file`);
    2. COCO's ``instances_*.json`` in ``folder``, or ``annotations/instances_FOLDER.json`` beside it
       (see :func:`tresnet_deploy.images.coco.from_instances`);
    3. one sub-folder for each class, named by class name or index, or, where no name is known,
       as many as there are classes, in sorted order;
    4. else there are none.

    ``class_names`` and ``classes`` are the model's. With ``require_labels`` False, labels that
    contradict the model are dropped with a note, where they would be an error otherwise:
    calibration has no use for them.

    Raises:
        ImageError: the folder cannot be read, has no images, or contradicts the model's classes.
    """
    paths = tuple(_images_in(folder))
    if not paths:
        endings = " ".join(sorted(SUFFIXES))
        raise ImageError(f"there are no images in {folder} (looked for {endings})")
    found = Labelling(labels=(None,) * len(paths), class_names=class_names)
    try:
        found = _labelling(folder, paths, class_names, classes) or found
    except ImageError as error:
        if require_labels:
            raise
        note = f"labels are left out of account: {error.message}"
        found = Labelling(labels=found.labels, class_names=class_names, notes=(note,))
    files = (ImageFile(path=p, labels=ls) for p, ls in zip(paths, found.labels, strict=True))
    return ImageSet(
        root=folder,
        files=tuple(files),
        class_names=found.class_names,
        source=f"{counted(len(paths))} in {folder}",
        notes=found.notes,
    )


def of_files(paths: Sequence[Path], *, class_names: tuple[str, ...] = ()) -> ImageSet:
    """Return the named image files, and the images in the named folders, without labels.

    A file is taken whatever its ending: it was named.

    Raises:
        ImageError: nothing was named, a path does not exist, or a folder has no images.
    """
    if not paths:
        raise ImageError("no image was named")
    files: list[ImageFile] = []
    for path in paths:
        if path.is_dir():
            found = scan(path, require_labels=False)
            files.extend(ImageFile(path=file.path) for file in found.files)
        elif path.exists():
            files.append(ImageFile(path=path))
        else:
            raise ImageError(f"there is no image {path}")
    return ImageSet(
        root=Path(),
        files=tuple(files),
        class_names=class_names,
        source=f"{len(files)} named images",
    )


def _labelling(
    folder: Path, paths: tuple[Path, ...], class_names: tuple[str, ...], classes: int | None
) -> Labelling | None:
    """Return the labels of ``paths``, or None where the folder says nothing about classes."""
    tables = [folder / name for name in _LABEL_FILES if (folder / name).is_file()]
    tables += [table for table in annotations_for(folder) if table.parent == folder or not tables]
    if len(tables) > 1:
        found = " and ".join(table.name for table in tables)
        raise ImageError(f"{folder} has {found}: only one file can say what its images show")
    names = [path.relative_to(folder).as_posix() for path in paths]
    if tables:
        read = from_labels_file if tables[0].name in _LABEL_FILES else from_instances
        return read(tables[0], names, class_names, classes)
    return from_class_folders(folder, names, class_names, classes)


def _images_in(folder: Path, above: tuple[str, ...] = ()) -> Iterator[Path]:
    """Give the images below ``folder`` in sorted order; ``above`` holds the folders around it."""
    here = os.path.realpath(folder)
    if here in above:
        return  # a link that leads back up would never end
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise ImageError(f"the image folder {folder} cannot be read: {error.strerror}") from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _images_in(Path(entry.path), (*above, here))
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:  # noqa: PTH122  (a plain string)
            yield Path(entry.path)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False  # a link to itself: what decodes it says so
