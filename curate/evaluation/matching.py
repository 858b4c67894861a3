"""Which detection finds which labelled face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.core.faces import Detection
from curate.core.geometry import Box
from curate.core.intervals import Floats
from curate.core.truth import TruthFace


@dataclass(frozen=True, slots=True)
class Matching:
    """How detections and labelled faces of one image belong together.

    Args:
        faces: for each face, the index of the detection that finds it, or None.
        neutral: for each detection, whether it counts neither way.
    """

    faces: tuple[int | None, ...]
    neutral: tuple[bool, ...]


def by_confidence(detections: Sequence[Detection]) -> list[Detection]:
    """Detections by descending confidence, then box: the order in which they take faces."""
    return sorted(detections, key=lambda each: (-each.confidence, each.box))


def match(
    detections: Sequence[Detection],
    faces: Sequence[TruthFace],
    counts: Sequence[bool],
    iou: float,
) -> Matching:
    """Match one to one and greedily, as PASCAL VOC and COCO do.

    Each detection, the most confident first, takes of the free faces that count
    the one with which its IoU is highest, if that is at least ``iou``. A detection
    that takes none is neutral where it overlaps a face that does not count by as
    much, or where that share of it lies inside a crowd.

    Because the most confident go first, leaving out the detections below some
    confidence changes none of the matches that remain.

    Args:
        detections: as `by_confidence` sorts them.
        faces: every labelled face.
        counts: for each face, whether it counts.
        iou: least intersection over union, 0..1.
    """
    ious, inside = overlaps([each.box for each in detections], [each.box for each in faces])
    crowd = np.array([face.crowd for face in faces], dtype=bool)
    near = np.where(crowd, inside, ious) >= iou
    open_to = np.array(counts, dtype=bool)
    other = ~open_to
    taken: list[int | None] = [None] * len(faces)
    neutral: list[bool] = []
    for index in range(len(detections)):
        chances = np.where(open_to, ious[index], -1.0)
        best = int(chances.argmax()) if len(faces) else -1
        if best >= 0 and chances[best] >= iou:
            taken[best] = index
            open_to[best] = False
            neutral.append(False)
        else:
            neutral.append(bool((near[index] & other).any()))
    return Matching(tuple(taken), tuple(neutral))


def overlaps(boxes: Sequence[Box], others: Sequence[Box]) -> tuple[Floats, Floats]:
    """Intersection over union of boxes with others, and share of each box inside each other.

    Returns:
        Twice N×M float64, 0..1; 0 where the divisor is empty.
    """
    a = np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(-1, 1, 4)
    b = np.array([box.xyxy for box in others], dtype=np.float64).reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = np.maximum(sides, 0.0).prod(axis=-1)
    of_a, of_b = ((each[..., 2:] - each[..., :2]).prod(axis=-1) for each in (a, b))
    return _divide(shared, of_a + of_b - shared), _divide(
        shared, np.broadcast_to(of_a, shared.shape)
    )


def _divide(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)
