"""Affine transforms of annotations: points, boxes, polygons and label masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.geometry import Box, clip

Points = npt.NDArray[np.float64]
"""Points as N×2 float64, x before y, pixels."""

Matrix = tuple[tuple[float, float, float], tuple[float, float, float]]
"""Two rows ``(a, b, c)`` of x′ = a·x + b·y + c, and of y′."""

_EPSILON = 1e-9  # for matrices whose entries are about 1
_BAND = 1 << 20  # mask pixels that are mapped at a time


@dataclass(frozen=True, slots=True)
class Affine:
    """Affine transform from an image to a transformed image.

    Coordinates are continuous, as those of `Box`: a pixel spans one unit, and the
    origin is the upper left corner of the first pixel.

    Args:
        matrix: from the image to the transformed one.
        width: of the transformed image, pixels.
        height: of the transformed image, pixels.
    """

    matrix: Matrix
    width: int
    height: int

    @property
    def flips(self) -> bool:
        """Whether the transform contains a reflection."""
        return self.determinant < 0

    @property
    def determinant(self) -> float:
        """Determinant of the linear part; negative for reflections."""
        (a, b, _), (d, e, _) = self.matrix
        return a * e - b * d

    @property
    def keeps_axes(self) -> bool:
        """Whether axis-aligned boxes stay axis-aligned, as under flips and quarter turns."""
        (a, b, _), (d, e, _) = self.matrix
        return max(abs(b), abs(d)) < _EPSILON or max(abs(a), abs(e)) < _EPSILON

    def is_identity(self, width: int, height: int) -> bool:
        """Whether this is the identity for an image of this size."""
        return self == identity(width, height)

    def after(self, first: Affine) -> Affine:
        """Compose: apply ``first``, then this transform."""
        linear, translation = self._parts()
        before, shifted = first._parts()
        product, offset = linear @ before, linear @ shifted + translation
        return Affine(_to_matrix(product, offset), self.width, self.height)

    def points(self, points: npt.ArrayLike) -> Points:
        """Transform points; they may lie outside the transformed image.

        Args:
            points: N×2, x before y.
        """
        linear, translation = self._parts()
        return np.asarray(np.asarray(points, np.float64).reshape(-1, 2) @ linear.T + translation)

    def box(self, box: Box) -> Box | None:
        """Transform a box: bounding box of its corners, clipped; None if nothing is visible."""
        corners = self.points(corners_of(box))
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        seen = clip(Box(x0, y0, x1, y1), self.width, self.height)
        return None if seen.is_empty else seen

    def polygon(self, outline: npt.ArrayLike) -> Points:
        """Transform a polygon and clip it; empty (0×2) if nothing is visible.

        A polygon that is cut into pieces stays one, connected along the image border by
        edges of zero area (Sutherland and Hodgman, *Reentrant polygon clipping*, 1974).

        Args:
            outline: N×2, x before y, closed; the first point is not repeated.
        """
        points = self.points(outline)
        for axis, limit, sign in ((0, 0, 1), (0, self.width, -1), (1, 0, 1), (1, self.height, -1)):
            points = _clip_half(points, axis, float(limit), sign)
        return points if len(points) >= 3 and polygon_area(points) > 0 else np.zeros((0, 2))

    def mask(self, mask: npt.NDArray[Any], fill: int = 0) -> npt.NDArray[Any]:
        """Transform a label mask by nearest-neighbor sampling.

        Args:
            mask: H×W, any dtype.
            fill: label of pixels outside the image.

        Returns:
            H′×W′ of the same dtype.
        """
        linear, translation = self._parts()
        back = np.linalg.inv(linear)
        made = np.full((self.height, self.width), fill, mask.dtype)
        columns = np.arange(self.width) + 0.5
        step = max(1, _BAND // self.width)
        for top in range(0, self.height, step):
            rows = np.arange(top, min(top + step, self.height))[:, None] + 0.5
            dx, dy = columns - translation[0], rows - translation[1]
            # Centers on a border between pixels are always rounded to the same side.
            x = np.floor(back[0, 0] * dx + back[0, 1] * dy + _EPSILON).astype(np.int64)
            y = np.floor(back[1, 0] * dx + back[1, 1] * dy + _EPSILON).astype(np.int64)
            inside = (x >= 0) & (x < mask.shape[1]) & (y >= 0) & (y < mask.shape[0])
            made[top : top + len(rows)][inside] = mask[y[inside], x[inside]]
        return made

    def _parts(self) -> tuple[Points, Points]:
        """The linear part, 2×2, and the translation."""
        matrix = np.array(self.matrix, np.float64)
        return matrix[:, :2], matrix[:, 2]


def identity(width: int, height: int) -> Affine:
    """Return the identity transform.

    Args:
        width: of the image, pixels.
        height: of the image, pixels.
    """
    return Affine(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0)), width, height)


def from_stored(orientation: int, width: int, height: int) -> Affine:
    """Return the transform from the stored image to the upright image.

    Args:
        orientation: the EXIF orientation, 1–8 (CIPA DC-008, tag 0x0112).
        width: of the stored image, pixels.
        height: of the stored image, pixels.
    """
    x = (-1.0, width) if orientation in (2, 3, 7, 8) else (1.0, 0)
    y = (-1.0, height) if orientation in (3, 4, 6, 7) else (1.0, 0)
    if orientation >= 5:  # 5–8 swap the axes: upright x runs along stored y
        return Affine(((0.0, y[0], float(y[1])), (x[0], 0.0, float(x[1]))), height, width)
    return Affine(((x[0], 0.0, float(x[1])), (0.0, y[0], float(y[1]))), width, height)


def from_corners(made: npt.ArrayLike, width: int, height: int) -> tuple[Matrix, float]:
    """Fit a transform to three corners of an image.

    Args:
        made: 4×2, transformed corners (0, 0), (width, 0), (0, height) and
            (width, height) of the image.
        width: of the image, pixels.
        height: of the image, pixels.

    Returns:
        The matrix, and the error at the fourth corner, pixels.
    """
    origin, right, below, across = np.asarray(made, np.float64)
    linear = np.stack([(right - origin) / width, (below - origin) / height], axis=1)
    miss = float(np.abs(right + below - origin - across).max())
    return _to_matrix(linear, origin), miss


def corners_of(box: Box) -> Points:
    """Return the corners of a box, 4×2, clockwise from the upper left."""
    x0, y0, x1, y1 = box.xyxy
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], np.float64)


def polygon_area(outline: npt.ArrayLike) -> float:
    """Return the area of a polygon, N×2, by the shoelace formula; square pixels."""
    points = np.asarray(outline, np.float64).reshape(-1, 2)
    if len(points) < 3:
        return 0.0
    points = points - points[0]  # far from the origin the products would lose precision
    (x, y), (next_x, next_y) = points.T, np.roll(points, -1, axis=0).T
    return float(abs(np.dot(x, next_y) - np.dot(y, next_x)) / 2)


def _to_matrix(linear: Points, translation: Points) -> Matrix:
    rows = np.column_stack([linear, translation]).tolist()
    return (tuple(rows[0]), tuple(rows[1]))


def _clip_half(points: Points, axis: int, limit: float, sign: int) -> Points:
    """Clip a polygon to one side of an axis-parallel line."""
    away = sign * (points[:, axis] - limit)
    if (away >= 0).all():
        return points
    kept: list[Points] = []
    for start, end, from_start, from_end in zip(
        np.roll(points, 1, axis=0), points, np.roll(away, 1), away, strict=True
    ):
        if (from_start < 0) != (from_end < 0):
            crossing = start + (end - start) * (from_start / (from_start - from_end))
            crossing[axis] = limit
            kept.append(crossing)
        if from_end >= 0:
            kept.append(end)
    found = np.array(kept, np.float64).reshape(-1, 2)
    distinct = (found != np.roll(found, 1, axis=0)).any(axis=1)
    return np.asarray(found[distinct])
