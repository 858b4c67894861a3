"""WIDER FACE annotations, ``wider_face_*_bbx_gt.txt``.

For each image one line with its path, one with the number of faces, and one per face:
x, y, width, height, blur, expression, illumination, invalid, occlusion, pose. An image
without faces has the number 0 followed by one line of zeros.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.layouts.annotations import shorten
from curate.layouts.faces.boxes import MAX_FACES, GivenFaces, make_box
from curate.storage.regular import iter_text_lines, open_regular

_FIELDS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
_ENDINGS = (".jpg", ".jpeg", ".png")
_MAX_DIGITS = 9
_START = 4096  # bytes that hold two lines


def recognize(path: Path) -> bool:
    """Return whether a file is a text that starts with the path of an image and a number."""
    if not path.is_file():
        return False
    with open_regular(path, follow_links=True) as file:
        lines = file.read(_START).decode("utf-8", "replace").splitlines()
    return len(lines) > 1 and lines[0].lower().endswith(_ENDINGS) and lines[1].strip().isdecimal()


def iter_faces(path: Path) -> Iterator[GivenFaces]:
    """Iterate over the images of the file, streaming.

    A few faces of the training set have no width or height; they are marked as invalid.
    """
    stripped = (line.strip() for line in iter_text_lines(path, "surrogateescape"))
    lines = enumerate(stripped, start=1)
    for number, name in lines:
        if not name:
            continue
        if not name.lower().endswith(_ENDINGS):
            raise DataError(
                f"{path}, line {number}: expected the path of an image, not {shorten(name)}"
            )
        _, text = next(lines, (0, ""))
        if not text.isdecimal():
            raise DataError(
                f"{path}, line {number + 1}: expected the number of faces of {shorten(name)}"
            )
        if len(text) > _MAX_DIGITS or int(text) > MAX_FACES:
            raise DataError(
                f"{path}, line {number + 1}: {text[:40]} faces are too many; at most "
                f"{MAX_FACES:,} are read per image"
            )
        rows = list(itertools.islice(lines, max(int(text), 1)))
        if len(rows) < int(text):
            raise DataError(f"{path} ends among the faces of {shorten(name)}")
        faces = [_parse_face(line, f"{path}, line {at}") for at, line in rows[: int(text)]]
        boxes, fields = tuple(box for box, _ in faces), tuple(each for _, each in faces)
        yield GivenFaces(name, boxes, fields=fields)


def _parse_face(line: str, where: str) -> tuple[Box, dict[str, str]]:
    values = line[:_START].split()
    try:
        x, y, width, height = (float(value) for value in values[:4])
        fields = dict(zip(_FIELDS, values[4:], strict=True))
        box = Box(x, y, x + width, y + height)
    except (ValueError, DataError):
        raise DataError(
            f"{where}: expected ten numbers that give a box, not {line[:80]!r}"
        ) from None
    if box.is_empty:
        return box, fields | {"invalid": "1"}
    return make_box(box.xyxy, where), fields
