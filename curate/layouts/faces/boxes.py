"""Face boxes of one image, and the checks shared by all formats."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.layouts.annotations import shorten
from curate.storage.regular import open_regular

MAX_ITEM = 4 << 20
"""Maximum length of the faces of one image in a JSON file, bytes; room for 40,000."""

MAX_FACES = 40_000
"""Maximum number of faces of one image in a text file."""

NAME = "face"
"""Class name of a face in formats with class names."""

_WORD = re.compile(r"[A-Za-z][a-z]*|[^\W\d_]+")
_FACES = frozenset({NAME, "faces"})
_COVERS = frozenset({"mask", "masks", "shield", "shields", "covering", "coverings"})
_MIN_SIZE = 2.0  # pixels
_MAX_DIGITS = 32
_MAX_LENGTH = 1 << 31


@dataclass(frozen=True, slots=True)
class GivenFaces:
    """Face boxes of one image, as read from a file.

    Args:
        id: id of the image in the file.
        boxes: boxes of its faces; empty if no face was found.
        relative: whether boxes are relative to the width and height of the upright image,
            0 to 1, rather than in pixels of the image as stored.
        frames: for each box the frames that contain it; empty if the file does not state
            them, which means all frames.
        fields: for each box the other fields in the file; empty if there are none.
        size: width and height of the stored image in pixels, if the file states them.
        source_sha256: digest of the image file in which faces were detected, if stated.
        review: ``reviewed``, ``sampled`` or ``not looked at`` where people reviewed the
            boxes, else None.
        withheld: why no faces were searched in the image, as ``code: detail``, where the file
            lists it as withheld; else None.
    """

    id: str
    boxes: tuple[Box, ...]
    relative: bool = False
    frames: tuple[tuple[int, ...], ...] = ()
    fields: tuple[Mapping[str, Any], ...] = ()
    size: tuple[int, int] | None = None
    source_sha256: str | None = None
    review: str | None = None
    withheld: str | None = None


@dataclass(frozen=True, slots=True)
class FoundFaces:
    """Detected faces of one image, to be written to a file.

    Args:
        id: id of the image.
        width: width of the stored image in pixels.
        height: height of the stored image in pixels.
        orientation: EXIF orientation, 1 to 8.
        boxes: boxes of its faces in pixels of the stored image.
    """

    id: str
    width: int
    height: int
    orientation: int
    boxes: tuple[Box, ...]


def parse_numbers(values: Any, names: str, where: str) -> tuple[float, ...]:
    """Return the four numbers of a box.

    Args:
        values: value in the file; a list of four numbers if it is valid.
        names: what the numbers are, in messages.
        where: name of the entry in messages.

    Raises:
        DataError: if it is anything but four finite numbers.
    """
    is_list = isinstance(values, list | tuple)
    if not is_list or len(values) != 4 or not all(map(_is_number, values)):
        shown = " ".join(ascii(values).split())
        shown = shown if len(shown) <= 80 else f"{shown[:77]}..."
        raise DataError(f"{where} is not a box: expected four numbers, {names}, not {shown}")
    return tuple(map(float, values))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1 << 53  # not for NaN and infinities


def make_box(xyxy: Any, where: str, relative: bool = False) -> Box:
    """Create a box from four numbers.

    Args:
        xyxy: the numbers.
        where: name of the entry in messages.
        relative: whether they are fractions of the image rather than pixels.

    Raises:
        DataError: if it is not a box, or empty, or its values cannot be in that unit.
    """
    x0, y0, x1, y1 = parse_numbers(xyxy, "x0, y0, x1, y1", where)
    try:
        box = Box(x0, y0, x1, y1)
    except DataError as error:
        raise DataError(f"{where} is not a box: {error}") from None
    if box.is_empty:
        raise DataError(f"{where} is empty: {box.xyxy}")
    if not relative and all(abs(value) < _MIN_SIZE for value in box.xyxy):
        corners = ", ".join(f"{value:.4g}" for value in box.xyxy)
        raise DataError(
            f"{where} is ({corners}), which looks like fractions of the image; this format is in "
            "pixels: multiply by the width and height of each image"
        )
    return box


def is_too_small(box: Box) -> bool:
    """Return whether a box in pixels is too small for a face, as boxes in another unit are."""
    return max(box.width, box.height) < _MIN_SIZE


def names_faces(category: str) -> bool:
    """Return whether a class name contains the word face or faces."""
    return not _FACES.isdisjoint(_words(category))


def is_face_class(category: str) -> bool:
    """Return whether a class is of faces: not of masks and shields for the face."""
    return names_faces(category) and _COVERS.isdisjoint(_words(category))


def _words(name: str) -> set[str]:
    """Words of a name, in lower case; ``HumanFace`` and ``FACE_1`` have several."""
    return {word.lower() for word in (*_WORD.findall(name), *re.findall(r"[^\W\d_]+", name))}


def parse_size(line: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    """Return ``width`` and ``height`` of an entry, or None if it has neither.

    Args:
        line: the entry; numbers may be written as ``9.0`` or ``"9"``.
        where: name of the entry in messages.

    Raises:
        DataError: if they are not whole numbers from 1.
    """
    values = [line.get(key) for key in ("width", "height")]
    if all(value is None for value in values):
        return None
    width, height = (_parse_length(value) for value in values)
    if not (width and height):
        raise DataError(
            f"{where} has the width {shorten(values[0])} and height {shorten(values[1])}; give "
            "both as whole numbers of pixels, or neither"
        )
    return width, height


def _parse_length(value: Any) -> int:
    """A number of pixels, or 0 if it is not valid."""
    if isinstance(value, str) and len(value) <= _MAX_DIGITS:
        try:
            value = float(value)
        except ValueError:
            return 0
    if not _is_number(value) or value != int(value) or not 1 <= value <= _MAX_LENGTH:
        return 0
    return int(value)


def starts_with(path: Path, *beginnings: bytes) -> bool:
    """Return whether a file starts with one of some bytes, ignoring white space."""
    if not path.is_file():
        return False
    with open_regular(path, follow_links=True) as file:
        head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith(beginnings)
