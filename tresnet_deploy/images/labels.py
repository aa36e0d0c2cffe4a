"""What images show: labels from the names of class folders, or from a labels file."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from tresnet_deploy.errors import ImageError

_HEADERS = ("file", "filename", "image", "name", "path")
INDEX_HEADING = "file,index"
"""A first row that says that classes are indices throughout: class names may be numbers, too."""
_SPLITS = frozenset(("train", "training", "val", "valid", "validation", "test"))
_DIGITS = 9  # of an index
_NAMED_IN_ERRORS = 3  # how many offending names a message lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelling:
    """Labels of a sequence of images, the class names they index, and warnings about both."""

    labels: tuple[tuple[int, ...] | None, ...]
    class_names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def from_class_folders(
    folder: Path, names: Sequence[str], class_names: tuple[str, ...], classes: int | None
) -> Labelling | None:
    """Return the labels that the first part of each of ``names`` (relative paths) gives.

    None where no image lies in a sub-folder. ``classes`` is the model's number of outputs.

    Raises:
        ImageError: some images lie in sub-folders and some do not, or the sub-folders are not the
            model's classes.
    """
    tops = [PurePosixPath(name).parts[0] if "/" in name else None for name in names]
    found = sorted({top for top in tops if top is not None})
    if not found:
        return None
    loose = [name for name, top in zip(names, tops, strict=True) if top is None]
    if loose:
        raise ImageError(
            f"{folder} has images both directly in it ({some(loose)}) and in sub-folders "
            f"({some(found)}), so it is not clear what they show",
            hints=("move the loose images into class folders, or give one folder alone",),
        )
    indices, known, notes = _indices_of(folder, found, class_names, classes)
    labels = tuple((indices[top],) for top in tops if top is not None)
    return Labelling(labels=labels, class_names=known, notes=notes)


def _indices_of(
    folder: Path, found: list[str], class_names: tuple[str, ...], classes: int | None
) -> tuple[dict[str, int], tuple[str, ...], tuple[str, ...]]:
    """Return folder name -> class index, the class names, and notes."""
    count = len(class_names) or classes
    table = spellings(class_names)
    by_name = {name: index for name in found if (index := find_class(name, table)) is not None}
    if len(by_name) == len(found):
        return by_name, class_names, ()
    if count is not None and all(_is_index(name, count) for name in found):
        return {name: int(name) for name in found}, class_names, ()
    in_order = {name: index for index, name in enumerate(found)}
    if count is None:
        return in_order, tuple(found), ()
    if len(found) == count and not by_name:
        note = (
            f"the {count} folders in {folder} ({some(found)}) are taken for the model's classes "
            "in sorted order: make sure that the model was trained that way"
        )
        return in_order, class_names or tuple(found), (note,)
    raise _contradiction(folder, found, class_names, count)


def _contradiction(
    folder: Path, found: list[str], class_names: tuple[str, ...], count: int
) -> ImageError:
    table = spellings(class_names)
    unknown = [name for name in found if find_class(name, table) is None]
    if {name.lower() for name in found} <= _SPLITS:
        return ImageError(
            f"{folder} holds the parts of a data set ({some(found)}), not classes",
            hints=(f"give one part: {folder / found[0]}",),
        )
    expected = f" ({some(class_names)})" if class_names else ""
    return ImageError(
        f"{folder} has {len(found)} class folders, and {some(unknown)} "
        f"{'is' if len(unknown) == 1 else 'are'} none of the model's {count} classes{expected}",
        hints=(
            f"name the folders by class name or by index, 0 to {count - 1}",
            "or list the classes in labels.csv: FILE,CLASS",
        ),
    )


def from_labels_file(
    table: Path, names: Sequence[str], class_names: tuple[str, ...], classes: int | None
) -> Labelling:
    """Return the labels that ``table`` lists for ``names`` (paths relative to its folder).

    JSON: an object from file name to one class or a list of classes. CSV: in each row a file name
    and then its classes, one a cell, or a row for each class; a first row that starts with "file"
    or "image" is a heading. A class is a name, or else an index, after the heading "file,index"
    always an index; an image without classes shows none of them.

    Raises:
        ImageError: the table is malformed, leaves an image out, or names an unknown class.
    """
    rows, by_index = (_read_json(table), False) if table.suffix == ".json" else _read_csv(table)
    missing = [name for name in names if name not in rows]
    if missing:
        raise ImageError(
            f"{table} says nothing about {len(missing)} of the {len(names)} images, such as "
            f"{some(missing)}",
            hints=(f"add a row for each, or move them out of {table.parent}",),
        )
    cells = [cell for name in names for cell in rows[name]]
    known = class_names or (() if by_index else _names_in(cells, classes))
    by_name = Spellings() if by_index else spellings(known)
    count = len(known) or classes or _least_count(cells)
    unknown = sorted(
        {c for c in cells if find_class(c, by_name) is None and not _is_index(c, count)}
    )
    if unknown:
        raise ImageError(
            f"{table} names {some(unknown)}, which "
            f"{'is' if len(unknown) == 1 else 'are'} none of the model's {count} classes",
            hints=(f"use the model's class names, or indices from 0 to {count - 1}",),
        )
    absent = len(rows.keys() - set(names))
    notes = [f"{table} also lists {absent} files that are not there"] if absent else []
    twofold = sorted({c for c in cells if _is_index(c, count) and _index_of(c, by_name) != int(c)})
    if twofold:
        notes.append(
            f"{table}: {some(twofold)} can be a class's name or its index, and is taken for the "
            f"name; after a first row {INDEX_HEADING} all are indices"
        )
    labels = tuple(
        tuple(sorted({_index_of(cell, by_name) for cell in rows[name]})) for name in names
    )
    return Labelling(labels=labels, class_names=known, notes=tuple(notes))


def _least_count(cells: Iterable[str]) -> int:
    return 1 + max((int(cell) for cell in cells if _is_index(cell, 10**_DIGITS)), default=0)


def _index_of(cell: str, by_name: Spellings) -> int:
    found = find_class(cell, by_name)
    return int(cell) if found is None else found


def _names_in(cells: Iterable[str], classes: int | None) -> tuple[str, ...]:
    """Return the sorted class names in ``cells``, or none where they are indices throughout."""
    found = sorted(set(cells))
    return () if classes is not None or all(cell.isdecimal() for cell in found) else tuple(found)


def _read_json(table: Path) -> dict[str, list[str]]:
    try:
        found = msgspec.json.decode(table.read_bytes(), type=dict[str, str | int | list[str | int]])
    except (OSError, msgspec.MsgspecError) as error:
        raise ImageError(
            f"{table} is not an object from file names to lists of classes: {error}"
        ) from error
    return {
        name: [str(cell) for cell in (cells if isinstance(cells, list) else [cells])]
        for name, cells in found.items()
    }


def _read_csv(table: Path) -> tuple[dict[str, list[str]], bool]:
    """Return the classes of each file, and whether they are indices throughout."""
    try:
        text = table.read_text("utf-8-sig")
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ImageError(f"{table} is not a readable CSV file: {error}") from error
    heading = [cell.strip().lower() for cell in rows[0]] if rows else []
    if heading and heading[0] in _HEADERS:
        del rows[0]
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row[0].strip(), []).extend(c for cell in row[1:] if (c := cell.strip()))
    return found, heading == INDEX_HEADING.split(",")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spellings:
    """The index of each spelling that means one class alone (ImageNet has two cranes).

    ``exact`` are the names themselves, ``loose`` what is left of them by :func:`_key`.
    """

    exact: Mapping[str, int] = field(default_factory=dict)
    loose: Mapping[str, int] = field(default_factory=dict)


def spellings(class_names: Sequence[str]) -> Spellings:
    """Return how classes may be spelled."""
    return Spellings(exact=_unique(class_names), loose=_unique([*map(_key, class_names)]))


def _unique(names: Sequence[str]) -> dict[str, int]:
    counts = Counter(names)
    return {name: index for index, name in enumerate(names) if counts[name] == 1}


def find_class(name: str, table: Spellings) -> int | None:
    """Return the class that ``name`` means: spelled exactly, or else as a folder may spell it."""
    found = table.exact.get(name)
    return table.loose.get(_key(name)) if found is None else found


def _key(name: str) -> str:
    """Return ``name`` without what a folder name cannot hold or a person may type differently."""
    # NFC: some file systems give letters and their accents apart.
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", name)).casefold()


def _is_index(name: str, count: int) -> bool:
    # Python refuses to read numbers of thousands of digits.
    return name.isascii() and name.isdecimal() and len(name) <= _DIGITS and int(name) < count


def some(names: Sequence[str]) -> str:
    """Return the first few of ``names``, as a message lists them."""
    shown = ", ".join(names[:_NAMED_IN_ERRORS])
    return shown + (", ..." if len(names) > _NAMED_IN_ERRORS else "")
