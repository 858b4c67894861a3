"""False boxes on images without any face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import Interval, Share, none_seen, percentiles, resample_ratios


@dataclass(frozen=True, slots=True)
class FaceFree:
    """Boxes on images without any labelled face, where each is a false one.

    Args:
        boxes: how many there are.
        with_box: images that have at least one, with Wilson's interval.
        interval: of boxes per image: the bootstrap's over images, because false boxes
            come in clusters; Garwood's exact one where there is no box at all; None
            where there is no image or the images are too much alike.
    """

    boxes: int
    with_box: Share
    interval: Interval | None

    @property
    def per_image(self) -> float | None:
        """Boxes per image; None without images."""
        return self.boxes / self.with_box.total if self.with_box.total else None


def count_false_boxes(boxes: Sequence[int], seed: int) -> FaceFree:
    """Count the boxes of face-free images.

    Args:
        boxes: how many boxes each of the images has.
        seed: of the bootstrap.
    """
    with_box = Share(sum(count > 0 for count in boxes), len(boxes))
    if not boxes:
        return FaceFree(0, with_box, None)
    if not any(boxes):
        return FaceFree(0, with_box, none_seen(len(boxes)))
    counts = np.array(boxes, dtype=np.float64)[:, None]
    means = resample_ratios(counts, np.ones_like(counts), seed=seed)
    return FaceFree(sum(boxes), with_box, percentiles(means[:, 0]))
