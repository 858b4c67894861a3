"""Boxes with whatever stands beside them, as a file of faces has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from curate.core.errors import DataError
from curate.core.geometry import Box


@dataclass(frozen=True, slots=True)
class LabelledBox:
    """A box and the other fields of its line, as they were read."""

    box: Box
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image of a file of faces.

    Args:
        id: as the file has it.
        faces: its boxes; None where nobody has looked at the image.
        width: pixels as stored, or None where the file does not say.
        height: pixels as stored, or None where the file does not say.
        reason: why nobody has looked, or None.
    """

    id: str
    faces: tuple[LabelledBox, ...] | None
    width: int | None = None
    height: int | None = None
    reason: str | None = None


def parse_box(xyxy: Sequence[Any], where: str) -> Box:
    """Four numbers as a box; it may be empty.

    Args:
        xyxy: left, top, right and bottom, pixels.
        where: what a message calls the box.

    Raises:
        DataError: if they are no box.
    """
    try:
        x0, y0, x1, y1 = (float(value) for value in xyxy)
        return Box(x0, y0, x1, y1)
    except (DataError, TypeError, ValueError) as error:
        raise DataError(f"{where} is not a box: {describe(error)}") from None


def parse_size(value: Any) -> int | None:
    """A width or height, pixels; None for whatever cannot be one."""
    return value if type(value) is int and value > 0 else None


def describe(error: BaseException) -> str:
    """An error of a library as part of one line."""
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
