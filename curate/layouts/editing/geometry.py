"""Affine transforms of annotation geometry: boxes, polygons, keypoints."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from curate.core.affine import Affine, corners_of, polygon_area
from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.layouts.annotations import shorten

_DIGITS = 4  # decimal places of a pixel

_GEOMETRY = re.compile(
    r"(?:^|_)(?:\w*box(?:es)?|rle|masks?|poly|polygons?|segmentations?|segments?|contours?"
    r"|(?:key)?points?|kpts?|landmarks?|coordinates?|coords?|corners?|rotation|angle|"
    r"[xy](?:_?(?:min|max|center|centre|[0-9]))?|[xy]yxy|xywh|left|top|right|bottom)(?:$|_)",
    re.IGNORECASE,
)
"""Names of fields that probably contain coordinates."""

_COUNT = re.compile(r"^(?:num|n|no|count)_|_(?:count|id|ids|type|label|labels)$", re.IGNORECASE)


def round_pixels(value: float) -> float:
    """Round a coordinate to 1/10,000 pixel; integral values become integers."""
    rounded = round(float(value), _DIGITS)
    return int(rounded) if rounded == int(rounded) else rounded


def parse_numbers(value: Any, where: str, count: int | None = None) -> list[float]:
    """Parse a list of numbers in an annotation.

    Args:
        value: value in the annotation.
        where: name of the field in messages.
        count: required length, or None for any.

    Raises:
        DataError: if it is not such a list.
    """
    sound = isinstance(value, list | tuple) and all(
        isinstance(item, int | float) and not isinstance(item, bool) and np.isfinite(item)
        for item in value
    )
    if not sound or (count is not None and len(value) != count):
        want = "numbers" if count is None else f"{count} numbers"
        raise DataError(f"{where} is {shorten(str(value))}; expected a list of {want}")
    return list(value)


def move_xywh(value: Any, affine: Affine, where: str) -> list[float] | None:
    """Transform a box ``x, y, width, height``; None if it left the image.

    Raises:
        DataError: if it is not such a box.
    """
    x, y, width, height = parse_numbers(value, where, 4)
    if width < 0 or height < 0:
        raise DataError(f"{where} has a negative size; expected x, y, width, height")
    return format_xywh(affine.box(Box(x, y, x + width, y + height)))


def format_xywh(box: Box | None) -> list[float] | None:
    """Format a box as ``x, y, width, height``; None if it is None or empty."""
    if box is None:
        return None
    values = [round_pixels(value) for value in (box.x0, box.y0, box.width, box.height)]
    return values if values[2] > 0 and values[3] > 0 else None


def move_polygon(value: Any, affine: Affine, where: str) -> list[float]:
    """Transform and clip a polygon ``x, y, x, y …``; empty if it left the image.

    Raises:
        DataError: if it is not a polygon.
    """
    numbers = parse_numbers(value, where)
    if len(numbers) < 6 or len(numbers) % 2:
        raise DataError(f"{where} has {len(numbers)} numbers; expected three or more pairs")
    return [round_pixels(value) for value in affine.polygon(numbers).ravel()]


def bounds(polygons: Sequence[Sequence[float]]) -> Box:
    """Return the bounding box of polygons."""
    points = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in polygons])
    (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Box(x0, y0, x1, y1)


def visible_share(value: Sequence[float], affine: Affine) -> float:
    """Return the ratio of the visible area after a transform to that of a box x, y, w, h."""
    x, y, width, height = value
    whole, box = width * height, Box(x, y, x + width, y + height)
    if whole <= 0:
        return 0.0
    if affine.keeps_axes:
        seen = affine.box(box)
        return seen.area / whole if seen else 0.0
    return polygon_area(affine.polygon(corners_of(box))) / whole


def move_keypoints(
    value: Any, affine: Affine, swap: Sequence[int] | None, where: str
) -> list[float]:
    """Transform keypoints ``x, y, visibility``; those that left the image become 0, 0, 0.

    Coordinates are pixel indices, so 0 is the center of the first pixel.

    Args:
        value: three numbers per keypoint.
        affine: transform to the generated image.
        swap: for each keypoint of the result the index of its source, or None.
        where: name of the field in messages.

    Raises:
        DataError: if they are not keypoints, or their number differs from ``swap``.
    """
    numbers = parse_numbers(value, where)
    if len(numbers) % 3 or (swap is not None and len(numbers) != 3 * len(swap)):
        want = f"{3 * len(swap)}" if swap is not None else "three for each keypoint"
        raise DataError(f"{where} has {len(numbers)} numbers; expected {want}")
    whole = all(isinstance(number, int) for number in numbers)
    moved: list[float] = []
    for index in swap if swap is not None else range(len(numbers) // 3):
        x, y, visibility = numbers[3 * index : 3 * index + 3]
        (x, y) = affine.points([[x + 0.5, y + 0.5]])[0].tolist()
        seen = 0 <= x < affine.width and 0 <= y < affine.height
        if visibility <= 0 or not seen:
            moved += [0, 0, 0]
        else:
            point = [round_pixels(x - 0.5), round_pixels(y - 0.5)]
            # A point in the outer half of a border pixel belongs to that pixel.
            point = [round(max(0, v)) for v in point] if whole else point
            moved += [*point, visibility]
    return moved


def find_geometry(name: str, value: Any) -> bool:
    """Return whether an unknown field seems to contain coordinates."""
    if isinstance(value, bool | None) or value in ([], {}, ""):
        return False
    if _COUNT.search(name) or not _GEOMETRY.search(name):
        return False
    return not isinstance(value, str) or any(letter.isdigit() for letter in value)
