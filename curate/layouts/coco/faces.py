"""Face boxes in COCO JSON: ``images`` and ``annotations`` with ``bbox`` in pixels."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.layouts.annotations import iter_items, load_kinds, shorten
from curate.layouts.faces.boxes import (
    NAME,
    FoundFaces,
    GivenFaces,
    is_face_class,
    make_box,
    names_faces,
    parse_numbers,
    parse_size,
    starts_with,
)
from curate.storage.index import open_index
from curate.storage.regular import open_regular

_SCHEMA = "CREATE TABLE images (id TEXT PRIMARY KEY, name TEXT)"


def recognize(path: Path) -> bool:
    """Return whether a file is a JSON object."""
    return starts_with(path, b"{")


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the images, then over their annotations; ids are indexed on disk.

    Of a file with ``categories`` only those whose name contains the word ``face`` or ``faces``
    are used.
    """
    _check_keys(path)
    categories = _load_categories(path)
    faces = {key: name for key, name in categories.items() if names_faces(name)}
    with open_index(schema=_SCHEMA, what="index of image ids") as names:
        for number, image in enumerate(_items(path, "images.item")):
            name, key = _find(image, f"{path}: images[{number}]", "file_name", "id")
            name = str(name)
            try:
                names.execute("INSERT INTO images VALUES (?, ?)", (repr(key), name))
            except sqlite3.IntegrityError:
                raise DataError(f"{path}: images[{number}] has a duplicate id") from None
            except UnicodeEncodeError:
                raise DataError(
                    f"{path}: images[{number}] has a name that is not valid text"
                ) from None
            yield GivenFaces(name, (), size=parse_size(image, f"{path}: images[{number}]"))
        for number, annotation in enumerate(_items(path, "annotations.item")):
            where = f"{path}: annotations[{number}]"
            if not categories or _find_category(annotation, categories, where) in faces:
                yield _parse(annotation, names, where, faces)


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
    with open_regular(path, follow_links=True) as file:
        kinds = load_kinds(file, str(path))
    for key in ("images", "annotations"):
        if key not in kinds:
            raise DataError(f"{path} is not a COCO file of face boxes: it has no key {key!r}")
    for key in ("images", "annotations", "categories"):
        if kinds.get(key, "start_array") != "start_array":
            raise DataError(f"{path} is not a COCO file of face boxes: its {key!r} is not a list")


def _load_categories(path: Path) -> dict[Any, str]:
    """Return category names by id; empty if the file has no categories."""
    categories = {}
    for number, item in enumerate(_items(path, "categories.item")):
        where = f"{path}: categories[{number}]"
        key, name = _find(item, where, "id", "name")
        if not isinstance(key, int | str) or isinstance(key, bool):
            raise DataError(f"{where} has the id {shorten(key)}; expected a number")
        if key in categories:
            raise DataError(
                f"{where} has the id {shorten(key)} of another category, so that their "
                "annotations cannot be told apart; give every category an id of its own"
            )
        categories[key] = str(name)
    if categories and not any(map(is_face_class, categories.values())):
        others = ", ".join(map(shorten, list(categories.values())[:3]))
        raise DataError(
            f"{path} has no category of that name: {NAME!r}, only {others}; give a file of faces, "
            f"or rename the category of the faces to {NAME!r}"
        )
    return categories


def _find(item: Any, where: str, *keys: str) -> tuple[Any, ...]:
    """Return the values of keys that an entry must have."""
    if not isinstance(item, dict):
        raise DataError(f"{where} is {shorten(item)}; expected an object with {', '.join(keys)}")
    if missing := [key for key in keys if item.get(key) is None]:
        raise DataError(f"{where} has no {missing[0]!r}; add it, or remove the entry")
    return tuple(item[key] for key in keys)


def _find_category(annotation: Any, categories: Mapping[Any, str], where: str) -> int | str:
    (key,) = _find(annotation, where, "category_id")
    if not isinstance(key, int | str) or isinstance(key, bool) or key not in categories:
        raise DataError(f"{where} has the category {shorten(key)}, which the file does not have")
    return key


def _items(path: Path, prefix: str) -> Iterator[Any]:
    with open_regular(path, follow_links=True) as file:
        yield from iter_items(file, prefix, str(path))


def _parse(
    annotation: Any, names: sqlite3.Connection, where: str, faces: Mapping[Any, str]
) -> GivenFaces:
    image, bbox = _find(annotation, where, "image_id", "bbox")
    key = repr(image)
    row = names.execute("SELECT name FROM images WHERE id = ?", (key,)).fetchone()
    if row is None:
        raise DataError(f"{where} belongs to image {shorten(image)}, which is absent")
    x, y, width, height = parse_numbers(bbox, "x, y, width, height", f"{where}.bbox")
    box = make_box((x, y, x + width, y + height), f"{where}.bbox")
    return GivenFaces(row[0], (box,), fields=(_find_fields(annotation, faces),))


def _find_fields(annotation: Any, faces: Mapping[Any, str]) -> dict[str, Any]:
    """Return the other fields of an annotation, and its category if there are several."""
    attributes = annotation.get("attributes")
    fields = dict(attributes) if isinstance(attributes, dict) else {}
    fields |= {key: annotation[key] for key in ("iscrowd", "ignore") if key in annotation}
    if "score" in annotation:
        fields["confidence"] = annotation["score"]
    if len(faces) > 1:
        fields.setdefault("category", faces[annotation["category_id"]])
    return fields
