"""Faces as a JSON list of ``file`` and ``faces``, each with ``xyxy`` in pixels as stored.

A lone box of four noughts, which lists made from WIDER FACE have, means no face.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.formats.faces.given import GivenFaces, make_box, parse_size, starts_with
from curate.formats.json_stream import iter_items


def recognise(path: Path) -> bool:
    """Whether it is a JSON list whose first item has a file and faces."""
    if not starts_with(path, b"["):
        return False
    with path.open("rb") as file:
        return _is_line(next(iter_items(file, "item", str(path)), None))


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Read the list, streaming."""
    with path.open("rb") as file:
        for number, item in enumerate(iter_items(file, "item", str(path))):
            where = f"{path}: [{number}]"
            if not _is_line(item):
                raise DataError(f"{where} has no file and faces, as those before it have")
            faces = item["faces"]
            if [face["xyxy"] for face in faces] == [[0, 0, 0, 0]]:
                faces = []
            boxes = tuple(
                make_box(face["xyxy"], f"{where}.faces[{place}]")
                for place, face in enumerate(faces)
            )
            yield GivenFaces(str(item["file"]), boxes, fields=tuple(faces), size=parse_size(item))


def _is_line(item: Any) -> bool:
    return isinstance(item, dict) and {"file", "faces"} <= set(item)
