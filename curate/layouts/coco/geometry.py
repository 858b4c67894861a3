"""One annotation of COCO, for an image that was made from its own."""

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
from curate.layouts.editing.changes import Made
from curate.layouts.editing.geometry import (
    bounds,
    find_geometry,
    format_xywh,
    move_keypoints,
    move_outline,
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
    made: Made,
    size: tuple[int, int] | None,
    names: Sequence[str] | None,
    where: str,
) -> dict[str, Any] | None:
    """An annotation for an image that was made, or None if its object left the image.

    Args:
        annotation: as it stands in the JSON.
        made: the image made.
        size: width and height that the JSON states for the source image, or None.
        names: of the keypoints of its category, or None if it has none.
        where: what a message calls the annotation.

    Raises:
        DataError: if it is malformed, or holds what cannot be transformed.
    """
    _refuse(annotation, where, is_moved=not made.is_copy)
    if made.is_copy:
        return dict(annotation)
    affine = made.map_for(size, where)
    moved, ratio = dict(annotation), abs(affine.determinant)
    if annotation.get("bbox"):
        moved["bbox"] = move_xywh(annotation["bbox"], affine, f"{where}.bbox")
        ratio = visible_share(annotation["bbox"], affine)
    if (
        shape := _move_segmentation(annotation.get("segmentation"), made, affine, where)
    ) is not None:
        moved["segmentation"], box, ratio = shape
        if box is None:
            return None
        if annotation.get("bbox") and not affine.keeps_axes:
            moved["bbox"] = format_xywh(box)  # closer than the box around a turned box
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
    """Make sure that nothing of an annotation would be wrong for the image made."""
    if "segments_info" in annotation:
        raise DataError(
            f"{where} is of a panoptic map, for which no image can be made yet; take the panoptic "
            "JSON and its maps out of SOURCE, or choose a strategy that makes no images"
        )
    for key, value in annotation.items() if is_moved else ():
        if key not in _KNOWN and find_geometry(key, value):
            raise DataError(
                f"{where}.{key} seems to say where something is in the image, which cannot be "
                "transformed; remove it, or use an augmentation that moves nothing"
            )


def _move_segmentation(
    value: Any, made: Made, affine: Affine, where: str
) -> tuple[Any, Box | None, float] | None:
    """A segmentation, the box around it, and by what its area changed; None if there is none.

    The box is None where nothing of it is left.
    """
    if not value:
        return None
    place = f"{where}.segmentation"
    if isinstance(value, Mapping):
        return _move_mask(value, made, place)
    if not isinstance(value, list):
        raise DataError(f"{place} is {shorten(str(value))}; want outlines or run lengths")
    outlines = [move_outline(item, affine, f"{place}[{n}]") for n, item in enumerate(value)]
    left = [outline for outline in outlines if outline]
    if not left:
        return [], None, 0.0
    before, after = sum(map(polygon_area, value)), sum(map(polygon_area, left))
    ratio = after / before if before else abs(affine.determinant)
    return left, bounds(left), ratio


def _move_mask(
    value: Mapping[str, Any], made: Made, place: str
) -> tuple[Any, Box | None, float] | None:
    height, width = (int(side) for side in parse_numbers(value.get("size"), f"{place}.size", 2))
    counts = value.get("counts")
    if not isinstance(counts, str | list):
        raise DataError(f"{place}.counts is {shorten(str(counts))}; want run lengths")
    mask = decode_runs(counts, width, height, f"{place}.counts")
    affine = made.map_for((width, height), place)
    moved = affine.mask(mask)
    if not moved.any():
        return {}, None, 0.0
    runs = encode_runs(moved)
    made_counts = format_counts(runs) if isinstance(counts, str) else runs
    rows, columns = (np.flatnonzero(moved.any(axis=axis)) for axis in (1, 0))
    box = Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)
    segmentation = {**value, "size": [affine.height, affine.width], "counts": made_counts}
    return segmentation, box, float(moved.sum()) / max(int(mask.sum()), 1)


def _swap_of(names: Sequence[str] | None, where: str) -> list[int]:
    """For each keypoint the one on the other side.

    Raises:
        DataError: if the names do not tell.
    """
    hint = "use an augmentation that does not flip, or name the keypoints"
    if names is None or (len(names) > 1 and not any(map(_SIDES.search, names))):
        raise DataError(
            f"{where} has keypoints, whose names do not tell left from right, so they cannot be "
            f"mirrored; {hint}"
        )
    swap = []
    for name in names:
        other = _SIDES.sub(_other_side, name)
        if other not in names:
            raise DataError(f"{where} has a keypoint {name!a} but none {other!a}; {hint}")
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
_MOST_GROUPS = 13  # of a count of 64 bits


def decode_runs(counts: Sequence[int] | str, width: int, height: int, where: str) -> Mask:
    """A mask of zeros and ones, H×W uint8, from its runs.

    Args:
        counts: numbers of pixels, or their compressed text.
        width: of the mask, pixels.
        height: of the mask, pixels.
        where: what a message calls them.

    Raises:
        DataError: if they are no run lengths of a mask of this size.
    """
    runs = parse_counts(counts, where) if isinstance(counts, str) else counts
    if not all(type(run) is int and run >= 0 for run in runs) or sum(runs) != width * height:
        raise DataError(f"{where} holds no run lengths of a mask of {width}×{height} pixels")
    values = np.arange(len(runs), dtype=np.uint8) & 1
    return np.repeat(values, runs).reshape(width, height).T


def encode_runs(mask: Mask) -> list[int]:
    """The runs of a mask, H×W, in which what is not zero counts as one."""
    flat = (mask.T != 0).ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    edges = np.concatenate([[0], changes, [flat.size]])
    runs: list[int] = np.diff(edges).tolist()
    return [0, *runs] if flat[0] else runs


def parse_counts(text: str, where: str) -> list[int]:
    """The counts of a compressed text.

    Raises:
        DataError: if it is none.
    """
    counts: list[int] = []
    value = group = 0
    for letter in text:
        code = ord(letter) - _OFFSET
        if not 0 <= code < 2 * _MORE or group == _MOST_GROUPS:
            raise DataError(f"{where} holds {letter!a}, which is no compressed run length")
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
    """The compressed text of counts."""
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
