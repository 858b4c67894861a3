"""Boxes in half-open ``xyxy`` pixel coordinates, operations on them, and EXIF orientations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from curate.core.errors import DataError

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """A half-open rectangle: pixels with ``x0 <= x < x1`` and ``y0 <= y < y1``.

    The origin is the image's upper left corner and the unit is one pixel.
    Coordinates may be fractional and may lie outside the image.

    Raises:
        DataError: if a coordinate is not finite or the corners are reversed.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        x0, y0, x1, y1 = self.x0, self.y0, self.x1, self.y1
        finite = math.isfinite
        if not (finite(x0) and finite(y0) and finite(x1) and finite(y1)):
            raise DataError(f"box {self.xyxy} has a coordinate that is not a finite number")
        if x1 < x0 or y1 < y0:
            raise DataError(f"box {self.xyxy} has its corners reversed; give x0, y0, x1, y1")

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """The corners as a tuple ``(x0, y0, x1, y1)``."""
        return (self.x0, self.y0, self.x1, self.y1)

    @property
    def width(self) -> float:
        """Horizontal extent, pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Vertical extent, pixels."""
        return self.y1 - self.y0

    @property
    def area(self) -> float:
        """Square pixels."""
        return self.width * self.height

    @property
    def is_empty(self) -> bool:
        """Whether the area is zero."""
        return self.width <= 0 or self.height <= 0

    @property
    def slices(self) -> tuple[slice, slice]:
        """Row and column slices of an integer box, to index an ``H×W`` array."""
        return (slice(int(self.y0), int(self.y1)), slice(int(self.x0), int(self.x1)))


def intersection(a: Box, b: Box) -> float:
    """Return the area shared by two boxes, in square pixels."""
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return max(width, 0.0) * max(height, 0.0)


def iou(a: Box, b: Box) -> float:
    """Return the intersection over union, 0..1; 0 if both boxes are empty."""
    shared = intersection(a, b)
    union = a.area + b.area - shared
    return shared / union if union > 0 else 0.0


def enclosing(a: Box, b: Box) -> Box:
    """Return the smallest box that contains both boxes."""
    return Box(min(a.x0, b.x0), min(a.y0, b.y0), max(a.x1, b.x1), max(a.y1, b.y1))


def covered(box: Box, by: Box) -> float:
    """Return the share of ``box`` that lies inside ``by``, 0..1; 0 for an empty box."""
    return intersection(box, by) / box.area if box.area > 0 else 0.0


def clip(box: Box, width: int, height: int) -> Box:
    """Clip a box to a ``width`` × ``height`` image; empty if it lies outside."""
    x0 = min(max(box.x0, 0.0), width)
    y0 = min(max(box.y0, 0.0), height)
    return Box(x0, y0, max(x0, min(box.x1, width)), max(y0, min(box.y1, height)))


def grow(box: Box, margin: float) -> Box:
    """Grow a box on every side by ``margin`` times its longer side.

    This is the enlargement of Yang et al., *A Study of Face Obfuscation in
    ImageNet* (ICML 2022), which uses ``margin = 0.1``.
    """
    pad = margin * max(box.width, box.height)
    return Box(box.x0 - pad, box.y0 - pad, box.x1 + pad, box.y1 + pad)


def round_out(box: Box) -> Box:
    """Return the smallest whole-pixel box that contains ``box``."""
    return Box(math.floor(box.x0), math.floor(box.y0), math.ceil(box.x1), math.ceil(box.y1))


def scale(box: Box, factor_x: float, factor_y: float) -> Box:
    """Scale a box, for an image resized by these factors."""
    return Box(box.x0 * factor_x, box.y0 * factor_y, box.x1 * factor_x, box.y1 * factor_y)


def shift(box: Box, dx: float, dy: float) -> Box:
    """Translate a box by ``(dx, dy)`` pixels."""
    return Box(box.x0 + dx, box.y0 + dy, box.x1 + dx, box.y1 + dy)


def to_upright(box: Box, orientation: int, width: int, height: int) -> Box:
    """Map a box of the image as stored to the upright image; the inverse of `to_stored`.

    Args:
        box: a box in the stored image's pixels.
        orientation: the EXIF orientation, 1–8 (CIPA DC-008, tag 0x0112).
        width: width of the stored image, pixels.
        height: height of the stored image, pixels.
    """
    x0, y0, x1, y1 = box.xyxy
    if orientation in (2, 3, 7, 8):
        x0, x1 = width - x1, width - x0
    if orientation in (3, 4, 6, 7):
        y0, y1 = height - y1, height - y0
    if orientation >= 5:  # 5–8 swap the axes: upright x runs along stored y
        x0, y0, x1, y1 = y0, x0, y1, x1
    return Box(x0, y0, x1, y1)


def to_stored(box: Box, orientation: int, width: int, height: int) -> Box:
    """Map a box of the upright image back to the image as stored.

    Args:
        box: a box in the upright image's pixels.
        orientation: the EXIF orientation, 1–8 (CIPA DC-008, tag 0x0112).
        width: width of the stored image, pixels.
        height: height of the stored image, pixels.
    """
    x0, y0, x1, y1 = box.xyxy
    if orientation >= 5:  # 5–8 swap the axes: upright x runs along stored y
        x0, y0, x1, y1 = y0, x0, y1, x1
    if orientation in (2, 3, 7, 8):
        x0, x1 = width - x1, width - x0
    if orientation in (3, 4, 6, 7):
        y0, y1 = height - y1, height - y0
    return Box(x0, y0, x1, y1)


def turn(pixels: npt.NDArray[T], orientation: int) -> npt.NDArray[T]:
    """Return an image as an EXIF orientation turns it (CIPA DC-008, tag 0x0112); a view.

    Args:
        pixels: H×W or H×W×C.
        orientation: 1–8.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
