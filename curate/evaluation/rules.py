"""When a face counts, when it is found, and when it is hidden."""

from __future__ import annotations

import math
from dataclasses import dataclass

from curate.core.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the figures of an evaluation mean.

    Args:
        ious: least intersection over union of a detection and the face that it finds;
            the first is the one that the sweep uses.
        margin: growth of a detection on every side before it hides anything, as a
            share of its longer side.
        hidden_share: least share of a face's area inside the hidden regions.
        least_height: labelled faces lower than this, pixels, count neither way, and
            nor do detections lower than this that find no face.
        heights: bounds of the ranges of height, pixels, ascending.
        seed: of the bootstrap.

    Raises:
        UsageError: if the least height cannot be one.
    """

    ious: tuple[float, ...] = (0.3, 0.5)
    margin: float = 0.15
    hidden_share: float = 0.8
    least_height: float = 8.0
    heights: tuple[float, ...] = (8.0, 16.0, 32.0, 64.0, math.inf)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.least_height < math.inf:
            raise UsageError(f"least-height cannot be {self.least_height}; give 0 or more pixels")

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what is measured of each face: a recall per IoU, and whether it is hidden."""
        return (*(f"recall_{round(100 * iou)}" for iou in self.ious), "hidden")
