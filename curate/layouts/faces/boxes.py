"""Face boxes of one image, and the checks shared by all formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.geometry import Box

MAX_ITEM = 4 << 20
"""Maximum length of the faces of one image in a JSON file, bytes; room for 40,000."""

NAME = "face"
"""Class name of a face in formats with class names."""


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


def make_box(xyxy: Sequence[Any], where: str) -> Box:
    """Create a box from four numbers.

    Raises:
        DataError: if it is not a box, or empty.
    """
    try:
        x0, y0, x1, y1 = (float(value) for value in xyxy)
        box = Box(x0, y0, x1, y1)
    except (DataError, TypeError, ValueError) as error:
        raise DataError(f"{where} is not a box: {one_line(error)}") from None
    if box.is_empty:
        raise DataError(f"{where} is empty: {box.xyxy}")
    return box


def parse_size(line: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return ``width`` and ``height`` of a row, if both are positive integers."""
    width, height = line.get("width"), line.get("height")
    if type(width) is not int or type(height) is not int or min(width, height) < 1:
        return None
    return width, height


def one_line(error: BaseException) -> str:
    """Format the message of an exception in one line of bounded length."""
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__


def starts_with(path: Path, *beginnings: bytes) -> bool:
    """Return whether a file starts with one of some bytes, ignoring white space."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith(beginnings)
