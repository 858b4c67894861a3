"""Face boxes in YOLO labels: a folder with ``images.txt`` and ``labels/….txt``.

Each line of ``images.txt`` is the id of an examined image; the labels of ``a/b.jpg`` are
``labels/a/b.jpg.txt`` or ``labels/a/b.txt``, missing or empty if there is no face:
``class x y width height``, center and size of the box relative to the upright image. A file that
could be the labels of two images is refused.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from curate.core.errors import DataError
from curate.core.geometry import Box, scale, to_upright
from curate.layouts.faces.boxes import MAX_FACES, FoundFaces, GivenFaces, make_box
from curate.storage.index import open_index
from curate.storage.regular import iter_text_lines

_IMAGES = "images.txt"
_SCHEMA = "CREATE TABLE names (name BLOB PRIMARY KEY, stem BLOB) WITHOUT ROWID"
_MAX_LINE = 1000
_TOLERANCE = 0.01  # of rounding


def recognize(path: Path) -> bool:
    """Return whether a path is a folder with a list of images and a folder of labels."""
    return (path / _IMAGES).is_file() and (path / "labels").is_dir()


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the images in the list, in its order, with their labels."""
    listed = labeled = 0
    with open_index(schema=_SCHEMA, what="index of listed images") as names:
        rows = ((os.fsencode(name), os.fsencode(_stem(name))) for name in _iter_listed(path))
        names.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", rows)
        names.execute("CREATE INDEX by_stem ON names (stem)")
        for name in _iter_listed(path):
            files = _find_labels(path, name, names)
            listed, labeled = listed + 1, labeled + bool(files)
            boxes = tuple(box for file in files for box in _iter_boxes(file))
            yield GivenFaces(name, boxes, relative=True)
    if listed and not labeled:
        raise DataError(f"{path / 'labels'} has no label file for any image of {_IMAGES}")


def save_faces(images: Iterable[FoundFaces], path: Path) -> None:
    """Write the list and one label file per image; the only class is 0, face."""
    (path / "labels").mkdir(parents=True)
    with (path / _IMAGES).open("w", encoding="utf-8") as listing:
        for image in images:
            if "\n" in image.id or "\r" in image.id:
                raise DataError(f"{image.id!r} cannot be written as a line of {path / _IMAGES}")
            listing.write(image.id + "\n")
            target = path / "labels" / f"{image.id}.txt"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text("".join(_iter_lines(image)), encoding="utf-8")


def _iter_lines(image: FoundFaces) -> Iterator[str]:
    width, height = image.width, image.height
    for box in image.boxes:
        upright = to_upright(box, image.orientation, width, height)
        if image.orientation >= 5:
            relative = scale(upright, 1 / height, 1 / width)
        else:
            relative = scale(upright, 1 / width, 1 / height)
        x, y = (relative.x0 + relative.x1) / 2, (relative.y0 + relative.y1) / 2
        yield f"0 {x:.9f} {y:.9f} {relative.width:.9f} {relative.height:.9f}\n"


def _iter_listed(path: Path) -> Iterator[str]:
    yield from filter(None, iter_text_lines(path / _IMAGES, "surrogateescape"))


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _find_labels(path: Path, name: str, names: sqlite3.Connection) -> list[Path]:
    """Return the label files of an image, none of which can be those of another image.

    A file named by the whole name of one image and by the stem of others is of the first if the
    others have files with their whole names; one named by the stem of several images is of the
    only one that has no such file.

    Raises:
        DataError: if a file could be the labels of two images.
    """
    found = []
    stem = _stem(name)
    own, shared = _label_file(path, name), _label_file(path, stem)
    has_own = own.is_file()
    if has_own:
        for other in _find_without_own(path, name, names):
            raise _ambiguous(own, name, other)
        found.append(own)
    if not stem or not shared.is_file():
        return found
    key = os.fsencode(stem)
    if names.execute("SELECT 1 FROM names WHERE name = ?", (key,)).fetchone():
        if not has_own:
            raise _ambiguous(shared, stem, name)
        return found
    others = [each for each in _find_without_own(path, stem, names) if each != name]
    is_alone = names.execute("SELECT count(*) FROM names WHERE stem = ?", (key,)).fetchone()[0] == 1
    if (others and not has_own) or len(others) > 1:
        raise _ambiguous(shared, name, others[0])
    if has_own and not others and not is_alone:
        raise _ambiguous(shared, name, "another image")
    return found if has_own and others else [*found, shared]


def _label_file(path: Path, name: str) -> Path:
    return path / "labels" / f"{name}.txt"


def _find_without_own(path: Path, stem: str, names: sqlite3.Connection) -> list[str]:
    """Return images with a stem, none of which has a label file of its whole name."""
    rows = names.execute(
        "SELECT name FROM names WHERE stem = ? ORDER BY name", (os.fsencode(stem),)
    )
    listed = (os.fsdecode(name) for (name,) in rows.fetchall())
    return [name for name in listed if not _label_file(path, name).is_file()]


def _ambiguous(file: Path, name: str, other: str) -> DataError:
    return DataError(
        f"{file} could be the labels of {name!a} or of {other!a}; name the label files of images "
        "with the same stem by their whole names, such as a.jpg.txt, one for each of them"
    )


def _iter_boxes(labels: Path) -> Iterator[Box]:
    for number, line in enumerate(iter_text_lines(labels, "replace"), start=1):
        where = f"{labels}, line {number},"
        if number > MAX_FACES:
            raise DataError(f"{labels} has more than {MAX_FACES:,} lines, which are too many")
        fields = line.split(maxsplit=6)
        try:
            if (
                len(fields) not in (5, 6) or len(line) > _MAX_LINE
            ):  # with a confidence; a polygon has more
                raise ValueError
            x, y, width, height = (float(value) for value in fields[1:5])
        except ValueError:
            raise DataError(
                f"{where} is not a box: expected class x y width height, separated by spaces"
            ) from None
        if any(not -_TOLERANCE <= value <= 1 + _TOLERANCE for value in (x, y, width, height)):
            raise DataError(
                f"{where} has a value outside 0 to 1: {' '.join(fields[1:5])[:80]}; the values of "
                "YOLO are fractions of the image: divide pixels by its width and height"
            )
        xyxy = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        yield make_box(xyxy, where, relative=True)
