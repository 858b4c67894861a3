"""One line of a YOLO label, for an image that was made: a box, an outline or a pose."""

from __future__ import annotations

import numpy as np

from curate.core.affine import Affine, Points
from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.formats.editing.values import Made
from curate.formats.yolo_config import Config
from curate.formats.yolo_labels import check_line

_DIGITS = 8  # behind the point; a share of a hundred million pixels


def move_line(line: str, made: Made, config: Config, where: str) -> str | None:
    """A line for an image that was made, or None if its object left the image.

    Args:
        line: ``class x y w h``, ``class x1 y1 x2 y2 x3 y3 …`` or a box and its
            keypoints, as shares of the upright image.
        made: the image made.
        config: what the dataset's configuration says.
        where: what a message calls the line.

    Raises:
        DataError: if it is malformed, or keypoints would be mirrored and nothing says
            how.
    """
    check_line(line, where, config)
    first, *rest = line.split()
    values = [float(text) for text in rest]
    if config.keypoints is None and len(values) != 4:
        moved = _move_outline(values, made)
    else:
        moved = _move_box(values[:4], made)
        if moved and len(values) > 4:
            moved += _move_pose(values[4:], made, config, where)
    return " ".join([first, *map(_format, moved)]) if moved else None


def _move_box(values: list[float], made: Made) -> list[float]:
    x, y, width, height = values
    corners = Box(
        (x - width / 2) * made.width,
        (y - height / 2) * made.height,
        (x + width / 2) * made.width,
        (y + height / 2) * made.height,
    )
    box = made.affine.box(corners)
    if box is None:
        return []
    across, down = made.affine.width, made.affine.height
    centre = [(box.x0 + box.x1) / 2 / across, (box.y0 + box.y1) / 2 / down]
    return [*centre, box.width / across, box.height / down]


def _move_outline(values: list[float], made: Made) -> list[float]:
    points = np.reshape(values, (-1, 2)) * (made.width, made.height)
    return _to_shares(made.affine.polygon(points), made.affine)


def _move_pose(values: list[float], made: Made, config: Config, where: str) -> list[float]:
    """Keypoints; those that left the image are zeros, as those that nobody has set."""
    points = np.reshape(values, (-1, config.dimensions))
    if made.affine.flips:
        if config.flips is None:
            raise DataError(
                f"{where} has keypoints, and data.yaml has no flip_idx that says which change "
                "places in a mirror; add it, or use an augmentation that does not flip"
            )
        points = points[list(config.flips)]
    affine = made.affine
    places = affine.points(points[:, :2] * (made.width, made.height))
    inside = (places >= 0).all(axis=1) & (places < (affine.width, affine.height)).all(axis=1)
    is_set = points[:, 2] > 0 if config.dimensions > 2 else points.any(axis=1)
    moved = points.copy()
    moved[:, :2] = places / (affine.width, affine.height)
    moved[~(inside & is_set)] = 0
    return [float(value) for value in moved.ravel()]


def _to_shares(points: Points, affine: Affine) -> list[float]:
    return [float(value) for value in (points / (affine.width, affine.height)).ravel()]


def _format(value: float) -> str:
    return f"{value:.{_DIGITS}f}".rstrip("0").rstrip(".") or "0"
