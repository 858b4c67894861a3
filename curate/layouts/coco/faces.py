"""Face boxes in COCO JSON: ``images`` and ``annotations`` with ``bbox`` in pixels."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.layouts.annotations import iter_items, load_kinds
from curate.layouts.faces.boxes import (
    NAME,
    FoundFaces,
    GivenFaces,
    make_box,
    parse_size,
    starts_with,
)
from curate.storage.index import open_index

_SCHEMA = "CREATE TABLE images (id TEXT PRIMARY KEY, name TEXT)"


def recognize(path: Path) -> bool:
    """Return whether a file is a JSON object."""
    return starts_with(path, b"{")


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the images, then over their annotations; ids are indexed on disk.

    Of a file with ``categories`` only those whose name contains ``face`` are used.
    """
    _check_keys(path)
    categories = _load_categories(path)
    faces = {key: name for key, name in categories.items() if _names_faces(name)}
    with open_index(schema=_SCHEMA, what="index of image ids") as names:
        for number, image in enumerate(_items(path, "images.item")):
            name = str(image["file_name"])
            try:
                names.execute("INSERT INTO images VALUES (?, ?)", (repr(image["id"]), name))
            except sqlite3.IntegrityError:
                raise DataError(f"{path}: images[{number}] has a duplicate id") from None
            except UnicodeEncodeError:
                raise DataError(
                    f"{path}: images[{number}] has a name that is not valid text"
                ) from None
            yield GivenFaces(name, (), size=parse_size(image))
        for number, annotation in enumerate(_items(path, "annotations.item")):
            where = f"{path}: annotations[{number}]"
            if _is_face(annotation, categories, where):
                found = _parse(annotation, names, where)
                yield replace(found, fields=(_find_fields(annotation, faces),))


def save_faces(images: Iterable[FoundFaces], path: Path) -> None:
    """Write COCO JSON with the category ``face``; boxes are in pixels of the stored image.

    Annotations are collected in a temporary file, so memory does not grow.
    """
    aside = path.with_name(path.name + ".annotations")
    count = 0
    with path.open("w", encoding="utf-8") as file, aside.open("w+", encoding="utf-8") as later:
        categories = json.dumps([{"id": 1, "name": NAME}])
        file.write(f'{{"categories": {categories},\n"images": [')
        for number, image in enumerate(images):
            line = {
                "id": number, "file_name": image.id, "width": image.width, "height": image.height,
            }  # fmt: skip
            file.write(("," if number else "") + "\n" + json.dumps(line))
            for box in image.boxes:
                bbox = [box.x0, box.y0, box.width, box.height]
                face = {
                    "id": count, "image_id": number, "category_id": 1, "bbox": bbox,
                    "area": box.area, "iscrowd": 0,
                }  # fmt: skip
                later.write(("," if count else "") + "\n" + json.dumps(face))
                count += 1
        file.write('\n],\n"annotations": [')
        later.seek(0)
        file.writelines(later)
        file.write("\n]}\n")
    aside.unlink()


def _check_keys(path: Path) -> None:
    with path.open("rb") as file:
        kinds = load_kinds(file, str(path))
    for key in ("images", "annotations"):
        if key not in kinds:
            raise DataError(f"{path} is not a COCO file of face boxes: it has no key {key!r}")
    for key in ("images", "annotations", "categories"):
        if kinds.get(key, "start_array") != "start_array":
            raise DataError(f"{path} is not a COCO file of face boxes: its {key!r} is not a list")


def _load_categories(path: Path) -> dict[Any, str]:
    """Return category names by id; empty if the file has no categories."""
    categories = {item["id"]: str(item["name"]) for item in _items(path, "categories.item")}
    if categories and not any(map(_names_faces, categories.values())):
        others = ", ".join(list(categories.values())[:3])
        raise DataError(f"{path} has no category of that name: {NAME!r}, only {others}")
    return categories


def _names_faces(category: str) -> bool:
    return NAME in category.lower()


def _is_face(annotation: Any, categories: Mapping[Any, str], where: str) -> bool:
    if not categories:
        return True
    key = annotation["category_id"]
    if key not in categories or isinstance(key, bool):
        raise DataError(f"{where} has the category {key!r}, which the file does not have")
    return _names_faces(categories[key])


def _items(path: Path, prefix: str) -> Iterator[Any]:
    with path.open("rb") as file:
        yield from iter_items(file, prefix, str(path))


def _parse(annotation: Any, names: sqlite3.Connection, where: str) -> GivenFaces:
    key = repr(annotation["image_id"])
    row = names.execute("SELECT name FROM images WHERE id = ?", (key,)).fetchone()
    if row is None:
        raise DataError(f"{where} belongs to image {key}, which is absent")
    x, y, width, height = annotation["bbox"]
    return GivenFaces(row[0], (make_box((x, y, x + width, y + height), where),))


def _find_fields(annotation: Any, faces: Mapping[Any, str]) -> dict[str, Any]:
    """Return the other fields of an annotation, and its category if there are several."""
    fields = dict(annotation.get("attributes") or {})
    fields |= {key: annotation[key] for key in ("iscrowd", "ignore") if key in annotation}
    if "score" in annotation:
        fields["confidence"] = annotation["score"]
    if len(faces) > 1:
        fields.setdefault("category", faces[annotation["category_id"]])
    return fields
