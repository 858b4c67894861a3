"""What COCO JSON says of the people in each image: one row for each annotation."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.layouts.annotations import iter_items

ID, NAME, CATEGORY = "id", "file_name", "category"
"""Keys of an annotation's number, of its image's name and of its category's."""

Opener = Callable[[], BinaryIO]
"""Opens a JSON anew, from its start."""


def iter_annotation_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Read annotations as rows: the image's name, the category's, and its ``attributes``.

    An image without annotations is a row with nothing but its name. The file is
    streamed, and its ids are kept on disk.

    Raises:
        DataError: if it is no COCO JSON.
    """
    row = None
    try:
        for _, row in iter_annotations(lambda: path.open("rb"), str(path)):
            yield row
    except OSError as error:
        raise DataError(f"the table {path} cannot be read: {error.strerror}") from None
    if row is None:
        raise DataError(f"{path} lists no images; want COCO's JSON, or give another table")


def iter_annotations(
    opener: Opener, name: str
) -> Iterator[tuple[int | str | None, Mapping[str, Any]]]:
    """Read annotations as rows, each with its own id; None for an image without any.

    Args:
        opener: opens the JSON.
        name: what messages call it.

    Raises:
        DataError: if it is no COCO JSON.
    """
    items = _items(opener, "categories", name)
    categories = {repr(item.get("id")): item.get("name") for item in items}
    # A private database on disk that goes when it is closed.
    with closing(sqlite3.connect("")) as names:
        names.execute("CREATE TABLE images (id TEXT PRIMARY KEY, name TEXT, told INTEGER)")
        for number, image in enumerate(_items(opener, "images", name)):
            _add(names, image, f"{name}: images[{number}]")
        for number, annotation in enumerate(_items(opener, "annotations", name)):
            key = repr(annotation.get("image_id"))
            row = names.execute("SELECT name, told FROM images WHERE id = ?", (key,)).fetchone()
            if row is None:
                raise DataError(f"{name}: annotations[{number}] belongs to an image that is absent")
            if not row[1]:
                names.execute("UPDATE images SET told = 1 WHERE id = ?", (key,))
            attributes = annotation.get("attributes") or {}
            if not isinstance(attributes, dict):
                raise DataError(f"{name}: annotations[{number}].attributes is no object")
            category = categories.get(repr(annotation.get("category_id")))
            yield annotation.get(ID), {CATEGORY: category, **attributes, NAME: row[0]}
        for (image_name,) in names.execute("SELECT name FROM images WHERE told = 0 ORDER BY rowid"):
            yield None, {NAME: image_name}


def iter_image_ids(opener: Opener, name: str) -> Iterator[tuple[str, Any]]:
    """The id of every image, with its name.

    Args:
        opener: opens the JSON.
        name: what messages call it.

    Raises:
        DataError: if it is no COCO JSON.
    """
    for image in _items(opener, "images", name):
        if type(image.get(ID)) in (int, str):
            yield str(image[ID]), image.get(NAME)


def _add(names: sqlite3.Connection, image: Mapping[str, Any], where: str) -> None:
    name = image.get(NAME)
    if not isinstance(name, str) or not name:
        raise DataError(f"{where} has no {NAME}")
    try:
        names.execute("INSERT INTO images VALUES (?, ?, 0)", (repr(image.get(ID)), name))
    except sqlite3.IntegrityError:
        raise DataError(f"{where} has the id of another") from None
    except UnicodeEncodeError:
        raise DataError(f"{where} has a name that is no text") from None


def _items(opener: Opener, key: str, name: str) -> Iterator[Mapping[str, Any]]:
    with opener() as file:
        for number, item in enumerate(iter_items(file, f"{key}.item", name)):
            if not isinstance(item, dict):
                raise DataError(f"{name}: {key}[{number}] is no object")
            yield item
