"""Rows of COCO JSON annotations: category and ``attributes``, one row per annotation."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from curate.core.errors import DataError
from curate.layouts.annotations import iter_items
from curate.layouts.encodings import as_utf8
from curate.storage.index import open_index
from curate.storage.regular import open_regular

ID, NAME, CATEGORY = "id", "file_name", "category"
"""Columns: id of an annotation, name of its image, name of its category."""

_SCHEMA = "CREATE TABLE images (id TEXT PRIMARY KEY, name TEXT, annotated INTEGER)"

Opener = Callable[[], BinaryIO]
"""Opens a JSON file at its start."""


def iter_annotation_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Iterate over annotations as rows: image name, category name and ``attributes``.

    An image without annotations is a row with its name only. The file is streamed, and
    its ids are indexed on disk.

    Raises:
        DataError: if it is not valid COCO JSON.
    """
    row = None
    try:
        for _, row in iter_annotations(
            lambda: as_utf8(open_regular(path, follow_links=True), str(path)), str(path)
        ):
            yield row
    except OSError as error:
        raise DataError(f"the table {path} cannot be read: {error.strerror}") from None
    if row is None:
        raise DataError(f"{path} lists no images; expected COCO's JSON, or give another table")


def iter_annotations(
    opener: Opener, name: str
) -> Iterator[tuple[int | str | None, Mapping[str, Any]]]:
    """Iterate over annotations as rows, each with its id; None for an image without any.

    Args:
        opener: opens the JSON file.
        name: name in messages.

    Raises:
        DataError: if it is not valid COCO JSON.
    """
    items = _items(opener, "categories", name)
    categories = {repr(item.get("id")): item.get("name") for item in items}
    with open_index(schema=_SCHEMA, what="index of image ids") as names:
        for number, image in enumerate(_items(opener, "images", name)):
            _add(names, image, f"{name}: images[{number}]")
        for number, annotation in enumerate(_items(opener, "annotations", name)):
            key = repr(annotation.get("image_id"))
            row = names.execute(
                "SELECT name, annotated FROM images WHERE id = ?", (key,)
            ).fetchone()
            if row is None:
                raise DataError(f"{name}: annotations[{number}] belongs to an image that is absent")
            if not row[1]:
                names.execute("UPDATE images SET annotated = 1 WHERE id = ?", (key,))
            attributes = annotation.get("attributes") or {}
            if not isinstance(attributes, dict):
                raise DataError(f"{name}: annotations[{number}].attributes is not an object")
            category = categories.get(repr(annotation.get("category_id")))
            yield annotation.get(ID), {CATEGORY: category, **attributes, NAME: row[0]}
        for (image_name,) in names.execute(
            "SELECT name FROM images WHERE annotated = 0 ORDER BY rowid"
        ):
            yield None, {NAME: image_name}


def iter_image_ids(opener: Opener, name: str) -> Iterator[tuple[str, Any]]:
    """Iterate over the ids of the images, with their names.

    Args:
        opener: opens the JSON file.
        name: name in messages.

    Raises:
        DataError: if it is not valid COCO JSON.
    """
    for image in _items(opener, "images", name):
        if type(image.get(ID)) in (int, str):
            yield str(image[ID]), name_of(image)


def name_of(image: Mapping[str, Any]) -> Any:
    """Return the name of an image; in LVIS, which has none, the end of its URL."""
    name, url = image.get(NAME), image.get("coco_url")
    return "/".join(url.split("/")[-2:]) if name is None and isinstance(url, str) else name


def _add(names: sqlite3.Connection, image: Mapping[str, Any], where: str) -> None:
    name = name_of(image)
    if not isinstance(name, str) or not name:
        raise DataError(f"{where} has no {NAME}")
    try:
        names.execute("INSERT INTO images VALUES (?, ?, 0)", (repr(image.get(ID)), name))
    except sqlite3.IntegrityError:
        raise DataError(f"{where} has a duplicate id") from None
    except UnicodeEncodeError:
        raise DataError(f"{where} has a name that is not valid text") from None


def _items(opener: Opener, key: str, name: str) -> Iterator[Mapping[str, Any]]:
    with opener() as file:
        for number, item in enumerate(iter_items(file, f"{key}.item", name)):
            if not isinstance(item, dict):
                raise DataError(f"{name}: {key}[{number}] is not an object")
            yield item
