"""How much of a face lies inside the regions that are hidden."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from curate.core.faces import Detection
from curate.core.geometry import Box, clip, grow, intersection, round_out


def hidden_regions(
    detections: Iterable[Detection], margin: float, size: tuple[int, int] | None
) -> list[Box]:
    """The regions that an obfuscator hides: boxes grown, rounded outwards, clipped.

    Args:
        detections: in stored pixels.
        margin: growth on every side, as a share of a box's longer side.
        size: the image's width and height, pixels; None where they are not known.
    """
    grown = (round_out(grow(each.box, margin)) for each in detections)
    return [clip(box, *size) if size else box for box in grown]


def share_inside(box: Box, regions: Sequence[Box]) -> float:
    """Share of a box's area inside the union of regions, 0..1; 0 for an empty box."""
    if box.is_empty:
        return 0.0
    parts = [region for region in regions if intersection(box, region) > 0]
    # Between two neighbouring edges nothing changes, so each cell is inside or outside whole.
    xs = _edges(box.x0, box.x1, [x for part in parts for x in (part.x0, part.x1)])
    ys = _edges(box.y0, box.y1, [y for part in parts for y in (part.y0, part.y1)])
    inside = 0.0
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            if any(part.x0 <= x < part.x1 and part.y0 <= y < part.y1 for part in parts):
                inside += (x1 - x0) * (y1 - y0)
    return min(inside / box.area, 1.0)


def _edges(low: float, high: float, between: Iterable[float]) -> list[float]:
    return sorted({low, high, *(value for value in between if low < value < high)})
