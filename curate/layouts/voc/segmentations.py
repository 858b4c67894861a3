"""Agreement of a segmentation with the annotation of its image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from curate.layouts.label_maps import VOID
from curate.layouts.voc.parse import parse_xml

_ROOT = "annotation"
_SIDES = {"xmin": 0, "ymin": 1, "xmax": 2, "ymax": 3}
_MARGIN = 8  # pixels by which a segment may exceed its box
_MIN_INSIDE = 0.95
_MAX_OBJECTS = 1000


@dataclass(slots=True)
class Outlines:
    """What an annotation states about the segments of its image.

    Args:
        size: width and height of the image, as texts.
        names: names of the objects.
        boxes: boxes of the objects: corners that count from 1, the last ones included.
    """

    size: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    boxes: list[dict[str, str]] = field(default_factory=list)


def load_outlines(file: BinaryIO, name: str) -> Outlines:
    """Read the size, the names and the boxes of an annotation.

    Raises:
        DataError: if it is malformed.
    """
    found = Outlines()

    def text(tags: tuple[str, ...], data: str) -> None:
        into, key = None, tags[-1] if tags else ""
        if tags[:-1] == (_ROOT, "size"):
            into = found.size
        elif tags == (_ROOT, "object", "name") and found.names:
            found.names[-1] += data[:128]
        elif tags[:-1] == (_ROOT, "object", "bndbox") and key in _SIDES and found.boxes:
            into = found.boxes[-1]
        if into is not None:
            into[key] = (into.get(key, "") + data)[:32]

    def end(tags: tuple[str, ...]) -> None:
        pass

    def start(tags: tuple[str, ...]) -> None:
        if tags == (_ROOT, "object") and len(found.boxes) <= _MAX_OBJECTS:
            found.boxes.append({})
            found.names.append("")

    parse_xml(file, name, text, end, start)
    return found


def fits_outlines(values: npt.NDArray[np.uint8], outlines: Outlines, classes: bool) -> bool:
    """Return whether a segmentation can be that of an annotated image.

    It is as large as the image, has no more classes or objects than the annotation, and its
    segments are within the boxes. A photo fills the image, also where there are no objects.

    Args:
        values: H×W uint8: classes or objects, 0 for the background, 255 for void.
        outlines: what the annotation states.
        classes: whether the values are classes, otherwise objects.
    """
    height, width = values.shape
    boxes = [box for box in map(_parse_box, outlines.boxes) if box is not None]
    if _parse_size(outlines.size) != (width, height) or len(outlines.boxes) > _MAX_OBJECTS:
        return False
    known = len(set(outlines.names)) if classes else len(boxes)
    if len(np.setdiff1d(np.unique(values), [0, VOID])) > known:
        return False
    inside = np.zeros(values.shape, np.bool_)
    for x0, y0, x1, y1 in boxes:
        inside[max(0, y0 - _MARGIN) : y1 + _MARGIN, max(0, x0 - _MARGIN) : x1 + _MARGIN] = True
    segments = (values != 0) & (values != VOID)
    return bool((segments & inside).sum() >= _MIN_INSIDE * segments.sum())


def _parse_size(size: dict[str, str]) -> tuple[int, int] | None:
    try:
        return int(float(size["width"])), int(float(size["height"]))
    except (KeyError, ValueError, OverflowError):
        return None


def _parse_box(box: dict[str, str]) -> list[int] | None:
    try:
        return [max(0, int(float(box[side]))) for side in _SIDES]
    except (KeyError, ValueError, OverflowError):
        return None
