"""Plans what a network is shown of an image: once, mirrored, and in enlarged tiles."""

from __future__ import annotations

from collections.abc import Callable

from curate.core.ports import Pixels
from curate.detectors.claims import Claims, join
from curate.detectors.options import Sight
from curate.detectors.views import View, back, check_pixels, shown, whole


def plan_views(width: int, height: int, sight: Sight) -> list[View]:
    """The views of a ``width`` × ``height`` image that a sight asks for."""
    longer = max(width, height)
    factor = min(sight.factor, sight.max_side / longer)
    if longer * factor < sight.min_side:
        factor = min(sight.min_side, sight.max_side) / longer
    views = [whole(width, height, factor)]
    if sight.mirrored:
        views.append(whole(width, height, factor, mirrored=True))
    return views


def look(image: Pixels, sight: Sight, find: Callable[[Pixels], Claims]) -> Claims:
    """What a detector says about an image when shown all its views.

    Args:
        image: H×W×3 uint8.
        sight: what it is shown.
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
