"""What COCO JSON says of the people in each image: one row for each annotation."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.formats.json_stream import iter_items

NAME, CATEGORY = "file_name", "category"
"""Columns that every row has, or may have."""


def iter_annotation_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Read annotations as rows: the image's name, the category's, and its ``attributes``.

    An image without annotations is a row with nothing but its name. The file is
    streamed, and its ids are kept on disk.

    Raises:
        DataError: if it is no COCO JSON.
    """
    categories = {repr(item.get("id")): item.get("name") for item in _items(path, "categories")}
    # A private database on disk that goes when it is closed.
    with closing(sqlite3.connect("")) as names:
        names.execute("CREATE TABLE images (id TEXT PRIMARY KEY, name TEXT, told INTEGER)")
        for number, image in enumerate(_items(path, "images")):
            _add(names, image, f"{path}: images[{number}]")
        for number, annotation in enumerate(_items(path, "annotations")):
            key = repr(annotation.get("image_id"))
            row = names.execute("SELECT name, told FROM images WHERE id = ?", (key,)).fetchone()
            if row is None:
                raise DataError(f"{path}: annotations[{number}] belongs to an image that is absent")
            if not row[1]:
                names.execute("UPDATE images SET told = 1 WHERE id = ?", (key,))
            attributes = annotation.get("attributes") or {}
            if not isinstance(attributes, dict):
                raise DataError(f"{path}: annotations[{number}].attributes is no object")
            category = categories.get(repr(annotation.get("category_id")))
            yield {CATEGORY: category, **attributes, NAME: row[0]}
        for (name,) in names.execute("SELECT name FROM images WHERE told = 0 ORDER BY rowid"):
            yield {NAME: name}


def _add(names: sqlite3.Connection, image: Mapping[str, Any], where: str) -> None:
    name = image.get(NAME)
    if not isinstance(name, str) or not name:
        raise DataError(f"{where} has no {NAME}")
    try:
        names.execute("INSERT INTO images VALUES (?, ?, 0)", (repr(image.get("id")), name))
    except sqlite3.IntegrityError:
        raise DataError(f"{where} has the id of another") from None
    except UnicodeEncodeError:
        raise DataError(f"{where} has a name that is no text") from None


def _items(path: Path, key: str) -> Iterator[Mapping[str, Any]]:
    try:
        with path.open("rb") as file:
            for number, item in enumerate(iter_items(file, f"{key}.item", str(path))):
                if not isinstance(item, dict):
                    raise DataError(f"{path}: {key}[{number}] is no object")
                yield item
    except OSError as error:
        raise DataError(f"the table of groups {path} cannot be read: {error.strerror}") from None
