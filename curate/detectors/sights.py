"""Plans the views of an image that a sight asks for, and gathers what is found in them."""

from __future__ import annotations

import math
from collections.abc import Callable

from curate.core.protocols import Pixels
from curate.detectors.claims import Claims, join
from curate.detectors.options import Sight
from curate.detectors.views import STRIDE, View, back, check_pixels, shown

LONGEST = 3
"""An image longer than this many times its shorter side is seen in parts."""


def plan_views(width: int, height: int, sight: Sight) -> list[View]:
    """The views of a ``width`` × ``height`` image that a sight asks for."""
    views: list[View] = []
    for x0, y0, x1, y1 in _parts(width, height):
        longer = max(x1 - x0, y1 - y0)
        factor = min(max(sight.factor, sight.full_side / longer), 1.0)
        factor = max(factor, sight.min_side / longer)
        factor = min(factor, sight.max_side / longer)
        for zoom in (1.0, *sight.zooms):
            size = (
                _squeezed((x1 - x0) * factor * zoom, sight.squeeze),
                _squeezed((y1 - y0) * factor * zoom, sight.squeeze),
            )
            views += [
                View(x0, y0, x1, y1, *size, mirrored)
                for mirrored in ((False, True) if sight.mirrored else (False,))
            ]
    return views


def look(image: Pixels, sight: Sight, find: Callable[[Pixels], Claims]) -> Claims:
    """What a detector says about an image when shown all its views.

    Args:
        image: H×W×3 uint8.
        sight: what the detector is shown.
        find: the detector, on one view's pixels.

    Returns:
        Claims in the image's pixels, clipped to it, not yet joined.

    Raises:
        DataError: if the image is not H×W×3 uint8 with at least one pixel.
    """
    check_pixels(image)
    height, width = image.shape[:2]
    found = [
        back(find(shown(image, view)).clipped(view.width, view.height), view)
        for view in plan_views(width, height, sight)
    ]
    return join(found).clipped(width, height)


def _parts(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """The image, or for a very long one overlapping parts that are not."""
    longer, shorter = max(width, height), min(width, height)
    length = min(longer, LONGEST * shorter)
    if longer <= max(length, 128):
        return [(0, 0, width, height)]
    count = math.ceil((longer - shorter) / (length - shorter))
    starts = [round(i * (longer - length) / (count - 1)) for i in range(count)]
    if width >= height:
        return [(start, 0, start + length, height) for start in starts]
    return [(0, start, width, start + length) for start in starts]


def _squeezed(side: float, most: float) -> int:
    """A side in whole pixels, down to a multiple of the stride if that is near enough."""
    whole = max(1, round(side))
    strides = whole // STRIDE * STRIDE
    return strides if strides >= (1 - most) * whole else whole
