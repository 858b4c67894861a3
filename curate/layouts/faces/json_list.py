"""JSON list of ``file`` and ``faces``, each with ``xyxy`` in pixels of the stored image.

A box of four zeros, which lists derived from WIDER FACE contain for images without a face,
is returned and marked as invalid: evaluation ignores it, and obfuscation withholds the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.layouts.annotations import iter_items
from curate.layouts.faces.boxes import MAX_ITEM, GivenFaces, make_box, parse_size, starts_with
from curate.storage.regular import open_regular


def recognize(path: Path) -> bool:
    """Return whether a file is a JSON list whose first item has a file and faces."""
    if not starts_with(path, b"["):
        return False
    with open_regular(path, follow_links=True) as file:
        return _is_line(next(iter_items(file, "item", str(path), MAX_ITEM), None))


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the images of the list, streaming."""
    with open_regular(path, follow_links=True) as file:
        for number, item in enumerate(iter_items(file, "item", str(path), MAX_ITEM)):
            where = f"{path}: [{number}]"
            if not _is_line(item):
                raise DataError(f"{where} has no file and list of faces")
            faces = [_mark(face, f"{where}.faces[{n}]") for n, face in enumerate(item["faces"])]
            boxes = tuple(_parse_box(face, f"{where}.faces[{n}]") for n, face in enumerate(faces))
            size = parse_size(item, where)
            yield GivenFaces(str(item["file"]), boxes, fields=tuple(faces), size=size)


def _parse_box(face: Any, where: str) -> Box:
    return Box(0, 0, 0, 0) if _is_zero(face) else make_box(face["xyxy"], where)


def _mark(face: Any, where: str) -> Any:
    if not isinstance(face, dict) or "xyxy" not in face:
        raise DataError(f"{where} has no xyxy; expected an object with xyxy, four numbers")
    return {**face, "invalid": True} if _is_zero(face) else face


def _is_zero(face: Any) -> bool:
    return bool(face["xyxy"] == [0, 0, 0, 0])


def _is_line(item: Any) -> bool:
    return isinstance(item, dict) and "file" in item and isinstance(item.get("faces"), list)
