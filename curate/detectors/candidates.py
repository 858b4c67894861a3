"""Candidate boxes as arrays: ordering, clipping, overlap, non-maximum suppression, clustering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.faces import Detection
from curate.core.geometry import Box

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]

CLUSTER_IOU = 0.4
"""IoU from which boxes of several passes are one candidate."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Candidate boxes of one image with their scores.

    Args:
        boxes: float64, shape (N, 4), half-open ``xyxy``, pixels.
        scores: float64, shape (N,), 0..1.
    """

    boxes: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def heights(self) -> Floats:
        """Box heights, float64, shape (N,), pixels."""
        heights: Floats = self.boxes[:, 3] - self.boxes[:, 1]
        return heights

    def take(self, which: Indices | Mask) -> Candidates:
        """The candidates at these indices, or where a mask is true, in that order."""
        return Candidates(self.boxes[which], self.scores[which])

    def order(self) -> Indices:
        """Indices that sort by descending score, then by box."""
        x0, y0, x1, y1 = self.boxes.T
        return np.lexsort((y1, x1, y0, x0, -self.scores))

    def clipped(self, width: int, height: int) -> Candidates:
        """The candidates clipped to a ``width`` × ``height`` image; those outside are dropped."""
        boxes = self.boxes.copy()
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Candidates(boxes[kept], self.scores[kept])

    def detections(self, detector: str) -> list[Detection]:
        """`Detection` values, sorted as the detector contract requires."""
        ordered = self.take(self.order())
        return [
            Detection(Box(x0, y0, x1, y1), score, detector)
            for (x0, y0, x1, y1), score in zip(
                ordered.boxes.tolist(), ordered.scores.tolist(), strict=True
            )
        ]


def empty() -> Candidates:
    """No candidates."""
    return Candidates(np.empty((0, 4)), np.empty(0))


def from_centers(centers: Floats, halves: Floats, scores: npt.NDArray[np.floating]) -> Candidates:
    """Candidates from the boxes' centers and half sides.

    Args:
        centers: x and y, shape (N, 2).
        halves: half the width and half the height, shape (N, 2).
        scores: shape (N,).
    """
    boxes = np.concatenate([centers - halves, centers + halves], axis=1)
    return Candidates(boxes.astype(np.float64), scores.astype(np.float64))


def concatenate(parts: Sequence[Candidates]) -> Candidates:
    """The candidates of several sets, one after the other."""
    if not parts:
        return empty()
    return Candidates(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )


def overlap(box: Floats, others: Floats) -> Floats:
    """Intersection over union (IoU) of one box with many, or of pairs of boxes.

    Args:
        box: float64, ``xyxy``, shape (4,), or (4, N) for one of each pair.
        others: float64, shape (N, 4), ``xyxy``.

    Returns:
        float64, shape (N,), 0..1; 0 where both boxes are empty.
    """
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + areas - shared
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def nms(candidates: Candidates, iou: float) -> Candidates:
    """Greedy non-maximum suppression.

    Args:
        candidates: candidates of one image.
        iou: a candidate is dropped if its IoU with a higher-scored, kept one exceeds this.

    Returns:
        The kept candidates by descending score, then box.
    """
    return candidates.take(nms_indices(candidates, iou))


def nms_indices(candidates: Candidates, iou: float) -> Indices:
    """Indices of the candidates that `nms` keeps, in its order."""
    order = candidates.order()
    boxes = candidates.boxes[order]
    alive = np.ones(len(boxes), dtype=np.bool_)
    kept: list[int] = []
    for index in range(len(boxes)):
        if alive[index]:
            kept.append(index)
            rest = slice(index + 1, None)
            alive[rest] &= overlap(boxes[index], boxes[rest]) <= iou
    return order[kept]


def cluster(parts: Sequence[Candidates]) -> tuple[Floats, Floats]:
    """Join the candidates of several passes.

    Args:
        parts: candidates by pass.

    Returns:
        The highest-scored box of each cluster, float64, shape (N, 4), and the best score in
        each pass, shape (N, P), 0 where there is none; by descending best score.
    """
    if len(parts) == 1:
        return parts[0].boxes, parts[0].scores[:, None]
    joined = concatenate(parts)
    source = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = joined.order()
    joined, source = joined.take(order), source[order]
    free = np.ones(len(joined), dtype=np.bool_)
    chosen: list[int] = []
    table: list[Floats] = []
    for i in range(len(joined)):
        if free[i]:
            members = free & (overlap(joined.boxes[i], joined.boxes) >= CLUSTER_IOU)
            members[i] = True
            free &= ~members
            row = np.zeros(len(parts))
            np.maximum.at(row, source[members], joined.scores[members])
            chosen.append(i)
            table.append(row)
    return joined.boxes[chosen].reshape(-1, 4), np.array(table).reshape(-1, len(parts))
