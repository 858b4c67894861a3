"""WIDER FACE's own text of boxes, ``wider_face_*_bbx_gt.txt``.

For each image a line with its path, one with the number of its faces, and one per
face: x, y, width, height, blur, expression, illumination, invalid, occlusion, pose.
An image without faces has the number 0 and, all the same, one line of noughts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

from curate.core.errors import DataError
from curate.formats.labels import LabelledBox, LabelledImage, parse_box

_FIELDS = ("blur", "expression", "illumination", "invalid", "occlusion", "pose")
_ENDINGS = (".jpg", ".jpeg", ".png")


def is_widerface(start: bytes) -> bool:
    """Whether a file that starts so is WIDER FACE's text.

    Args:
        start: the first bytes, enough for two lines.
    """
    lines = start.decode("utf-8", "replace").splitlines()
    return len(lines) > 1 and lines[0].lower().endswith(_ENDINGS) and lines[1].strip().isdecimal()


def iter_widerface(path: Path) -> Iterator[LabelledImage]:
    """Read the images of WIDER FACE's text; memory does not grow with its length.

    Raises:
        DataError: if a line is not as it should be; names the line.
    """
    with path.open(encoding="utf-8", errors="surrogateescape") as file:
        lines = enumerate((line.strip() for line in file), start=1)
        for number, name in lines:
            if not name:
                continue
            if not name.lower().endswith(_ENDINGS):
                raise DataError(f"{path}, line {number}: want the path of an image, not {name!r}")
            _, text = next(lines, (0, ""))
            if not text.isdecimal():
                raise DataError(f"{path}, line {number + 1}: want the number of faces of {name!r}")
            # The line of noughts after a 0 is read and dropped.
            rows = list(itertools.islice(lines, max(int(text), 1)))
            if len(rows) < int(text):
                raise DataError(f"{path} ends among the faces of {name!r}")
            faces = [_parse_face(line, f"{path}, line {at}") for at, line in rows]
            yield LabelledImage(name, tuple(faces) if int(text) else ())


def _parse_face(line: str, where: str) -> LabelledBox:
    values = line.split()
    if len(values) != 4 + len(_FIELDS) or not all(_is_number(value) for value in values):
        raise DataError(f"{where}: want ten numbers, not {line[:80]!r}")
    x, y, width, height = (float(value) for value in values[:4])
    fields = dict(zip(_FIELDS, values[4:], strict=True))
    if width == 0 or height == 0:  # a few of the training set: nothing can match them
        fields["invalid"] = "1"
    return LabelledBox(parse_box((x, y, x + width, y + height), where), fields)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal()
