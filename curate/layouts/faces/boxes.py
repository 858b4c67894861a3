"""The faces of one image, as a file states them, and the checks that all forms share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.core.errors import DataError
from curate.core.geometry import Box

NAME = "face"
"""What the forms that name their objects call a face."""


@dataclass(frozen=True, slots=True)
class GivenFaces:
    """What a file says of one image.

    Args:
        id: the image's id in the file.
        boxes: its faces; none means looked at and found none.
        relative: whether the boxes are shares of the upright image's width and
            height, 0..1, rather than pixels of the image as stored.
        frames: for each box the frames that it is in; empty where the file does
            not say, which means every frame.
        fields: for each box whatever else the file says of it; empty where it says
            nothing of any.
        size: the stored image's width and height, pixels, where the file says it.
        source_sha256: digest of the image file that was looked at, where the file says it.
        review: ``reviewed``, ``sampled`` or ``not looked at`` where people reviewed the
            boxes, else None.
    """

    id: str
    boxes: tuple[Box, ...]
    relative: bool = False
    frames: tuple[tuple[int, ...], ...] = ()
    fields: tuple[Mapping[str, Any], ...] = ()
    size: tuple[int, int] | None = None
    source_sha256: str | None = None
    review: str | None = None


@dataclass(frozen=True, slots=True)
class FoundFaces:
    """What a detector says of one image; how forms are written.

    Args:
        id: the image's id.
        width: of the image as stored, pixels.
        height: of the image as stored, pixels.
        orientation: its EXIF orientation, 1–8.
        boxes: its faces, in pixels of the image as stored.
    """

    id: str
    width: int
    height: int
    orientation: int
    boxes: tuple[Box, ...]


def make_box(xyxy: Sequence[Any], where: str) -> Box:
    """A box from four numbers.

    Raises:
        DataError: saying where, if it is not a box or an empty one.
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
    """The ``width`` and ``height`` of a line, if both are there and are sizes."""
    width, height = line.get("width"), line.get("height")
    if type(width) is not int or type(height) is not int or min(width, height) < 1:
        return None
    return width, height


def one_line(error: BaseException) -> str:
    """An error's text in one line of bounded length."""
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__


def starts_with(path: Path, *beginnings: bytes) -> bool:
    """Whether a file's first bytes, white space left aside, are one of these."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    return head.startswith(beginnings)
