"""Plans what a network is shown of an image: once, mirrored, and in enlarged tiles."""

from __future__ import annotations

from curate.detectors.options import Sight
from curate.detectors.views import View, whole


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
