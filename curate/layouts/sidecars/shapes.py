"""Shapes of numbers in annotations: boxes, polygons, keypoints, landmarks, run lengths."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from curate.layouts.sidecars.content import kind_of_key, words_of

_BOX = re.compile(r"[a-z]{0,5}box(?:es)?\d*|xyxy|xywh")
_SIDES = (
    *(("x", "y", "w", "h"), ("x", "y", "width", "height"), ("left", "top", "width", "height")),
    *(("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax")),
    ("left", "top", "right", "bottom"),
)
_AXES = (("x", "y"), ("xs", "ys"), ("all_points_x", "all_points_y"))
_MAX_BOXES = 2000
FEW_BOXES = 16  # so few numbers cannot hold a picture
MAX_COVERAGE = 16  # how often boxes cover their extent; 12×12 pixels read as boxes: more
_MAX_OUTSIDE = 0.25  # of the width or height of an image
_MAX_COORDINATE = 1e7
EMBEDDING = 64
"""Floats from which a list without another shape is an embedding."""
_MAX_EMBEDDING = 16_384
_FLOAT = re.compile(r"-?\d*\.\d{1,24}(?:[eE]-?\d{1,3})?|-?\d(?:\.\d{1,24})?[eE]-?\d{1,3}")
_LAST_NUMBER = re.compile(r"\d+\D*$")
_MATRIX_COLUMNS = 12
MATRIX_ROWS = 16
"""Rows from which a table of numbered columns is a matrix."""
_INDEX = re.compile(r"(?:index|row|y|Unnamed: ?\d+|__index_level_\d+__)?", re.IGNORECASE)
_FEW_POINTS = 450  # numbers of a pose that may be any, as of 133 keypoints
_FEW_LANDMARKS = 300
_MAX_POINTS = 1500
_LONG_OUTLINE = 64  # numbers that are hardly ever an outline by accident
_MAX_CORRELATION = 0.75
_MAX_ALIKE = 0.6  # least correlation of the numbers of boxes that are pixels
_CROSSED = 4  # corners from which an outline can cross itself
_PLAIN_LENGTH = 1.2  # of the open outline in extents; longer ones are examined
_WINDOW = 128
_RUNS = 16  # per square root of the area; a dithered photo has a hundred and more

Size = tuple[float, float]
"""Width and height of an image."""


@lru_cache(1 << 14)
def is_box_key(key: str) -> bool:
    """Return whether a key is one under which boxes are, such as bbox or CrowdHuman's fbox."""
    return any(map(_BOX.fullmatch, words_of(key)))


def count_boxes(value: Mapping[Any, Any], size: Size | None = None) -> int:
    """Return the number of boxes that an object holds directly.

    Args:
        value: the object.
        size: size of the image, if it is known.
    """
    count = 0
    for key, item in value.items():
        if isinstance(item, list) and isinstance(key, str) and item and is_box_key(key):
            nested = isinstance(item[0], list)
            count = max(count, len(item) if nested and are_boxes(item, size) else len(item) == 4)
    return count


def find_sides(value: Mapping[Any, Any]) -> tuple[Any, ...]:
    """Return the four keys, such as x, y, w and h, in which an object states its box, if any."""
    plain = {key.lower().replace("_", ""): key for key in value if type(key) is str}
    for names in _SIDES:
        keys = tuple(plain[name] for name in names if name in plain)
        if len(keys) == len(names) and are_numbers([value[key] for key in keys]):
            return keys
    return ()


def find_axes(value: Mapping[Any, Any]) -> tuple[tuple[str, ...], str]:
    """Return the keys under which an object has x and y of the corners of a polygon, if any.

    The second value is what the corners are, as of `find_shape`.
    """
    for names in _AXES:
        x, y = (value.get(name) for name in names)
        if isinstance(x, list) and isinstance(y, list) and len(x) == len(y):
            corners = [number for pair in zip(x, y, strict=True) for number in pair]
            if are_numbers(corners) and (shape := _shape_of_outline(corners, is_polygon=True)):
                return names, shape
    return (), ""


def find_size(value: Mapping[Any, Any]) -> Size | None:
    """Return the width and height that a record states, for lists of boxes in it, or None."""
    sides: list[Any] = [value.get("width"), value.get("height")]
    if not are_numbers(sides) or not all(0 < side < 1e7 for side in sides):
        return None
    return sides[0], sides[1]


def are_boxes(value: Sequence[Any], size: Size | None = None) -> bool:
    """Return whether lists of four numbers can be the boxes of one image.

    More than a few must be corners (x0, y0, x1, y1 or y, x), a corner and a size, or a center
    and a size, such that they have a width and a height, cover their extent a limited number of
    times, and are within the image if its size is known. Pixels with four channels are not.

    Args:
        value: the lists.
        size: size of the image; boxes in fractions of it fit any.
    """
    if len(value) > _MAX_BOXES or not all(
        isinstance(item, list) and len(item) == 4 and are_numbers(item) for item in value
    ):
        return False
    if not all(abs(number) < _MAX_COORDINATE for item in value for number in item):
        return False
    if len(value) <= FEW_BOXES:
        return True
    a, b, c, d = np.array(value, np.float64).T
    corners = ((a, b, c, d), (a, b, a + c, b + d), (a - c / 2, b - d / 2, a + c / 2, b + d / 2))
    return any(_can_be_corners(*each, size) for each in corners)


def _can_be_corners(x0: Any, y0: Any, x1: Any, y1: Any, size: Size | None) -> bool:
    width, height = x1 - x0, y1 - y0
    if min(width.min(), height.min()) < 0:
        return False
    left, top, right, bottom = x0.min(), y0.min(), x1.max(), y1.max()
    if size is not None:
        longest = max(size)  # boxes may be in the order y, x
        low, high = -_MAX_OUTSIDE * longest, (1 + _MAX_OUTSIDE) * longest
        if min(left, top) < low or max(right, bottom) > high:
            return False
    if _are_alike(x0 + x1, y0 + y1, width, height):
        return False
    return bool((width * height).sum() <= MAX_COVERAGE * (right - left) * (bottom - top))


def _are_alike(*values: Any) -> bool:
    """Return whether four numbers of each box vary together, as neighboring pixels do."""
    spread = np.std(values, axis=1)
    return bool(spread.min() > 0 and np.corrcoef(values).min() > _MAX_ALIKE)


def are_numbers(value: Sequence[Any]) -> bool:
    """Return whether all items are integers or floats."""
    return all(type(item) is int or type(item) is float for item in value)


def shape_of_lists(key: str, value: list[Any], size: Size | None = None) -> str:
    """Return what lists of lists of numbers are; empty if they are not lists of numbers.

    Args:
        key: key under which they are.
        value: the lists.
        size: size of the image, if it is known.

    Returns:
        ``boxes``, ``shapes`` or ``points`` as of `find_shape`, or ``other``.
    """
    if not all(isinstance(item, list) and item and are_numbers(item) for item in value):
        return ""
    width = len(value[0]) if len({len(item) for item in value}) == 1 else 0
    if width == 4 and is_box_key(key) and are_boxes(value, size):
        return "boxes"
    if width in (2, 3):
        shape = find_shape(key, [number for item in value for number in item])
        if shape:
            return shape
    if is_matrix(value) or width in (1, 2, 3, 4):
        return "other"
    shapes = {find_shape(key, item) for item in value}
    return "other" if "" in shapes else "points" if "points" in shapes else "shapes"


def is_matrix(value: Sequence[Any]) -> bool:
    """Return whether a list has many lists of one length, as pictures do and polygons do not."""
    if len(value) < 16 or not isinstance(value[0], list):
        return False
    lengths = {len(item) if isinstance(item, list) else -1 for item in value}
    return len(lengths) == 1 and min(lengths) >= 12


def find_shape(key: str, numbers: Sequence[float]) -> str:
    """Return whether a flat list of numbers is a polygon, a pose or landmarks.

    Args:
        key: key under which they are.
        numbers: integers or floats.

    Returns:
        ``shapes``, ``points`` for a pose or landmarks that could be other numbers, or empty.
    """
    count = len(numbers)
    if not all(abs(number) < _MAX_COORDINATE for number in numbers):
        return ""
    is_named = kind_of_key(key) == "landmarks"
    is_pose = count % 3 == 0 and 3 <= count <= _MAX_POINTS
    is_pose = is_pose and all(0 <= visibility <= 2 for visibility in numbers[2::3])
    if is_pose and (is_named or max(numbers) > 2):
        shape = _shape_of_points(numbers[::3], numbers[1::3])
        if shape or count <= _FEW_POINTS:
            return shape or "points"
    if is_named and count % 2 == 0 and count <= _MAX_POINTS:
        if _shape_of_points(numbers[::2], numbers[1::2]) == "shapes":
            return "shapes"
        if count <= _FEW_LANDMARKS:
            return "points"
    return _shape_of_outline(numbers, "segmentation" in key.lower())


def _shape_of_outline(numbers: Sequence[float], is_polygon: bool) -> str:
    """Return ``shapes`` for a polygon, ``points`` for one that rows of pixels often are."""
    if not is_outline(numbers, is_polygon):
        return ""
    return "shapes" if len(numbers) >= _LONG_OUTLINE or _is_filled(numbers) else "points"


def _is_filled(numbers: Sequence[float]) -> bool:
    """Return whether a polygon has a quarter of the area of its extent, and is not diagonal."""
    x, y = np.array(numbers[::2], np.float64), np.array(numbers[1::2], np.float64)
    area = abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2
    return bool(area * 4 >= np.ptp(x) * np.ptp(y)) and _are_points(x, y)


def _shape_of_points(xs: Sequence[float], ys: Sequence[float]) -> str:
    """Return ``shapes`` for points that no pixels are, ``points`` for those that may be."""
    if not _are_points(xs, ys):
        return ""
    fine = sum(number % 1 != 0 for number in (*xs, *ys))
    return "shapes" if fine > len(xs) else "points"


def _are_points(xs: Any, ys: Any) -> bool:
    """Return whether x and y vary on their own; neighboring pixels are nearly equal."""
    x, y = (np.array(each, np.float64) - np.mean(each) for each in (xs, ys))
    return bool(abs((x * y).sum()) <= _MAX_CORRELATION * np.sqrt((x * x).sum() * (y * y).sum()))


def is_outline(numbers: Sequence[float], is_polygon: bool = False) -> bool:
    """Return whether numbers are the corners of a polygon, x and y in turn.

    The corners of a polygon follow its outline, so that its length is a small multiple of the
    extent, and hardly cross it; lines between pixels read as corners cross often.

    Args:
        numbers: x0, y0, x1, y1 and so on.
        is_polygon: whether the key says so, which permits more intricate outlines.
    """
    if len(numbers) < 6 or len(numbers) % 2:
        return False
    xs, ys = numbers[::2], numbers[1::2]
    extent = max(xs) - min(xs) + max(ys) - min(ys)
    if extent == 0:
        return False  # of which only the number of corners says anything
    length = sum(abs(b - a) for axis in (xs, ys) for a, b in pairwise(axis))
    limit = min(4 + len(xs) / 16, 24) if is_polygon else min(2 + len(xs) / 32, 12)
    if length > limit * extent:
        return False
    is_plain = len(xs) < _CROSSED or length <= _PLAIN_LENGTH * extent
    return is_plain or not _crosses_itself(np.array([xs, ys], np.float64).T)


def _crosses_itself(corners: Any) -> bool:
    """Return whether an outline has more than one crossing for 20 corners.

    Args:
        corners: shape (N, 2); only parts of 128 corners are compared with themselves.
    """
    crossings = 0
    for first in range(0, len(corners), _WINDOW):
        start = corners[first : first + _WINDOW]
        end = np.roll(corners, -1, axis=0)[first : first + _WINDOW]
        one = _sides(start[:, None], end[:, None], start) * _sides(
            start[:, None], end[:, None], end
        )
        crossings += int(((one < 0) & (one.T < 0)).sum()) // 2
    return crossings * 20 > len(corners)


def _sides(start: Any, end: Any, points: Any) -> Any:
    """Return on which side of each line each point is, by sign; shape (N, N)."""
    step, offset = end - start, points - start
    return step[..., 0] * offset[..., 1] - step[..., 1] * offset[..., 0]


def count_runs(value: Mapping[Any, Any]) -> int:
    """Return the number of runs of a mask of COCO; 0 for objects that are not one.

    Its runs add up to its size, and are as few as of regions; a dithered photo has many more.
    """
    size, counts = value.get("size"), value.get("counts")
    if set(value) != {"size", "counts"} or not isinstance(size, list) or len(size) != 2:
        return 0
    if not all(type(side) is int and 0 < side < 1 << 24 for side in size):
        return 0
    if isinstance(counts, str):
        counts = list(_iter_runs(counts))
    if not isinstance(counts, list) or not all(type(run) is int and run >= 0 for run in counts):
        return 0
    area = size[0] * size[1]
    is_mask = sum(counts) == area and 0 not in counts[1:-1]
    return len(counts) if is_mask and len(counts) <= _RUNS * math.sqrt(area) + _RUNS else 0


def _iter_runs(text: str) -> Iterator[int]:
    """Iterate over compressed run lengths; -1 where they are malformed."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            yield -1
            return
        value |= (code & 0x1F) << shift
        shift += 5
        if not code & 0x20:
            if code & 0x10:
                value -= 1 << shift
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            yield runs[-1]
            value = shift = 0
    if shift:
        yield -1


def is_embedding(key: str, value: Sequence[Any]) -> bool:
    """Return whether a list of 64 numbers or more is an embedding: floats without a shape."""
    if not are_numbers(value) or set(value) <= {0, 1}:
        return False
    floats = sum(type(item) is float for item in value)
    return floats * 10 >= len(value) * 9 and not find_shape(key, value)


def is_plausible_embedding(value: Sequence[float]) -> bool:
    """Return whether numbers can be an embedding: of both signs, unlike intensities."""
    return len(value) <= _MAX_EMBEDDING and min(value) < 0 < max(value)


def find_spread_embedding(value: Mapping[Any, Any]) -> set[Any]:
    """Return the keys that differ only in their last number and have 64 or more floats.

    As many x as y are the landmarks of a face, as OpenFace writes them.
    """
    floats = (
        key
        for key, item in value.items()
        if type(item) is float or (isinstance(item, str) and _FLOAT.fullmatch(item))
    )
    groups = group_numbered(floats)
    return {
        key
        for prefix, keys in groups.items()
        if len(keys) >= EMBEDDING and not _have_partner(prefix, groups)
        for key in keys
    }


def group_numbered(keys: Iterable[Any]) -> dict[str, list[Any]]:
    """Return keys by what is before their last number."""
    groups: dict[str, list[Any]] = {}
    for key in keys:
        groups.setdefault(_LAST_NUMBER.sub("", str(key)), []).append(key)
    return groups


def _have_partner(prefix: str, groups: Mapping[str, list[Any]]) -> bool:
    """Return whether there are as many numbered y as x, or x as y."""
    plain = prefix.rstrip("_ .-")
    if plain[-1:] not in ("x", "y", "X", "Y") or plain[-2:-1].isalpha():
        return False
    other = plain[:-1] + {"x": "y", "y": "x", "X": "Y", "Y": "X"}[plain[-1]]
    return len(groups.get(other + prefix[len(plain) :], ())) == len(groups[prefix])


def is_matrix_header(names: Sequence[str]) -> bool:
    """Return whether all columns but an index are numbered: of a matrix, such as of pixels.

    The rows of a table of annotations say what they are of.
    """
    columns = [name for name in names if not _INDEX.fullmatch(name)]
    is_numbered = len(group_numbered(columns)) == 1 and all(map(_LAST_NUMBER.search, columns))
    return is_numbered and len(columns) >= _MATRIX_COLUMNS
