"""Transform of a COCO annotation for a generated image, and COCO run-length encoding."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.affine import Affine, polygon_area
from curate.core.errors import DataError
from curate.core.geometry import Box
from curate.layouts.annotations import shorten
from curate.layouts.editing.changes import GeneratedImage
from curate.layouts.editing.geometry import (
    bounds,
    find_geometry,
    format_xywh,
    move_keypoints,
    move_polygon,
    move_xywh,
    parse_numbers,
    round_pixels,
    visible_share,
)

_KNOWN = frozenset({"area", "bbox", "keypoints", "num_keypoints", "segmentation"})
_SAME = 1e-9  # of a ratio of areas
_SIDES = re.compile("left|right", re.IGNORECASE)


def move_annotation(
    annotation: Mapping[str, Any],
    generated: GeneratedImage,
    size: tuple[int, int] | None,
    names: Sequence[str] | None,
    where: str,
) -> dict[str, Any] | None:
    """Return an annotation for a generated image, or None if its object left the image.

    Args:
        annotation: annotation as parsed from the JSON file.
        generated: the generated image.
        size: width and height that the JSON file states for the source image, or None.
        names: keypoint names of its category, or None if it has none.
        where: name of the annotation in messages.

    Raises:
        DataError: if it is malformed, or contains something that cannot be transformed.
    """
    _refuse(annotation, where, is_moved=not generated.is_copy)
    if generated.is_copy:
        return dict(annotation)
    affine = generated.map_for(size, where)
    moved, ratio = dict(annotation), abs(affine.determinant)
    if annotation.get("bbox"):
        moved["bbox"] = move_xywh(annotation["bbox"], affine, f"{where}.bbox")
        ratio = visible_share(annotation["bbox"], affine)
    if (
        shape := _move_segmentation(annotation.get("segmentation"), generated, affine, where)
    ) is not None:
        moved["segmentation"], box, ratio = shape
        if box is None:
            return None
        if annotation.get("bbox") and not affine.keeps_axes:
            moved["bbox"] = format_xywh(box)  # tighter than the box around a rotated box
    if annotation.get("bbox") and moved["bbox"] is None:
        return None
    area = annotation.get("area")
    if isinstance(area, int | float) and abs(ratio - 1) > _SAME:
        moved["area"] = round_pixels(area * ratio)
    if annotation.get("keypoints"):
        swap = _swap_of(names, where) if affine.flips else None
        points = move_keypoints(annotation["keypoints"], affine, swap, f"{where}.keypoints")
        moved["keypoints"] = points
        if "num_keypoints" in annotation:
            moved["num_keypoints"] = sum(value > 0 for value in points[2::3])
    return moved


def _refuse(annotation: Mapping[str, Any], where: str, is_moved: bool) -> None:
    """Refuse an annotation with content that cannot be transformed."""
    if "segments_info" in annotation:
        raise DataError(
            f"{where} belongs to a panoptic map, for which images cannot be generated; remove the "
            "panoptic JSON and its maps from SOURCE, or use a strategy that generates no images"
        )
    for key, value in annotation.items() if is_moved else ():
        if key not in _KNOWN and find_geometry(key, value):
            raise DataError(
                f"{where}.{key} seems to contain coordinates, which cannot be "
                "transformed; remove it, or use an augmentation that keeps the geometry"
            )


def _move_segmentation(
    value: Any, generated: GeneratedImage, affine: Affine, where: str
) -> tuple[Any, Box | None, float] | None:
    """Return a segmentation, its bounding box and its ratio of areas; None if there is none.

    The box is None if the segmentation left the image.
    """
    if not value:
        return None
    field = f"{where}.segmentation"
    if isinstance(value, Mapping):
        return _move_mask(value, generated, field)
    if not isinstance(value, list):
        raise DataError(f"{field} is {shorten(str(value))}; expected polygons or run lengths")
    polygons = [move_polygon(item, affine, f"{field}[{n}]") for n, item in enumerate(value)]
    left = [polygon for polygon in polygons if polygon]
    if not left:
        return [], None, 0.0
    before, after = sum(map(polygon_area, value)), sum(map(polygon_area, left))
    ratio = after / before if before else abs(affine.determinant)
    return left, bounds(left), ratio


def _move_mask(
    value: Mapping[str, Any], generated: GeneratedImage, field: str
) -> tuple[Any, Box | None, float] | None:
    height, width = (int(side) for side in parse_numbers(value.get("size"), f"{field}.size", 2))
    counts = value.get("counts")
    if not isinstance(counts, str | list):
        raise DataError(f"{field}.counts is {shorten(str(counts))}; expected run lengths")
    mask = decode_runs(counts, width, height, f"{field}.counts")
    affine = generated.map_for((width, height), field)
    moved = affine.mask(mask)
    if not moved.any():
        return {}, None, 0.0
    runs = encode_runs(moved)
    generated_counts = format_counts(runs) if isinstance(counts, str) else runs
    rows, columns = (np.flatnonzero(moved.any(axis=axis)) for axis in (1, 0))
    box = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    segmentation = {**value, "size": [affine.height, affine.width], "counts": generated_counts}
    return segmentation, box, float(moved.sum()) / max(int(mask.sum()), 1)


def _swap_of(names: Sequence[str] | None, where: str) -> list[int]:
    """Return for each keypoint the index of its mirror image.

    Raises:
        DataError: if the names do not tell.
    """
    hint = "use an augmentation that does not flip, or name the keypoints"
    if names is None or (len(names) > 1 and not any(map(_SIDES.search, names))):
        raise DataError(
            f"{where} has keypoints, whose names do not distinguish left and right, so they "
            f"cannot be mirrored; {hint}"
        )
    swap = []
    for name in names:
        other = _SIDES.sub(_other_side, name)
        if other not in names:
            raise DataError(f"{where} has a keypoint {name!a} but no {other!a}; {hint}")
        swap.append(list(names).index(other))
    return swap


def _other_side(found: re.Match[str]) -> str:
    word = found[0]
    other = "right" if word.lower() == "left" else "left"
    if word.isupper():
        return other.upper()
    return other.capitalize() if word[0].isupper() else other


Mask = npt.NDArray[np.uint8]

_OFFSET, _MORE, _SIGN, _BITS = 48, 0x20, 0x10, 5
_MAX_GROUPS = 13  # of a count of 64 bits


def decode_runs(counts: Sequence[int] | str, width: int, height: int, where: str) -> Mask:
    """Decode run lengths to a mask of zeros and ones, H×W uint8.

    Args:
        counts: run lengths, or their compressed string.
        width: width of the mask in pixels.
        height: height of the mask in pixels.
        where: name of the field in messages.

    Raises:
        DataError: if they are not the run lengths of a mask of this size.
    """
    runs = parse_counts(counts, where) if isinstance(counts, str) else counts
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != width * height:
        raise DataError(
            f"{where} does not contain the run lengths of a mask of {width}×{height} pixels"
        )
    values = np.arange(len(runs), dtype=np.uint8) & 1
    return np.repeat(values, runs).reshape(width, height).T


def encode_runs(mask: Mask) -> list[int]:
    """Return the run lengths of a mask, H×W; nonzero pixels are the foreground."""
    flat = (mask.T != 0).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def parse_counts(text: str, where: str) -> list[int]:
    """Parse a compressed string of run lengths.

    Raises:
        DataError: if it is invalid.
    """
    counts: list[int] = []
    value = group = 0
    for letter in text:
        code = ord(letter) - _OFFSET
        if not 0 <= code < 2 * _MORE or group == _MAX_GROUPS:
            raise DataError(f"{where} holds {letter!a}, which is not a compressed run length")
        value |= (code & 0x1F) << _BITS * group
        group += 1
        if not code & _MORE:
            if code & _SIGN:
                value -= 1 << _BITS * group
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = group = 0
    if group:
        raise DataError(f"{where} ends within a compressed run length")
    return counts


def format_counts(counts: Sequence[int]) -> str:
    """Format run lengths as a compressed string."""
    letters: list[str] = []
    for number, count in enumerate(counts):
        value = count - counts[number - 2] if number > 2 else count
        while True:
            code = value & 0x1F
            value >>= _BITS
            more = value != (-1 if code & _SIGN else 0)
            letters.append(chr(code + _OFFSET + (_MORE if more else 0)))
            if not more:
                break
    return "".join(letters)
