"""Joins claims about the same face: suppression within a model, agreement between models."""

from __future__ import annotations

import numpy as np

from curate.detectors.claims import Claims, Floats, Indices


def overlap(box: Floats, others: Floats) -> Floats:
    """Intersection over union of one box with many.

    Args:
        box: 4 float64, ``xyxy``.
        others: N×4 float64, ``xyxy``.

    Returns:
        N float64, 0..1; 0 where both boxes are empty.
    """
    width = np.minimum(box[2], others[:, 2]) - np.maximum(box[0], others[:, 0])
    height = np.minimum(box[3], others[:, 3]) - np.maximum(box[1], others[:, 1])
    shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    union = (box[2] - box[0]) * (box[3] - box[1]) + areas - shared
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def strongest(claims: Claims, iou: float) -> Claims:
    """Greedy non-maximum suppression: of claims that overlap, the strongest stays.

    Args:
        claims: claims about one image.
        iou: a claim goes if it overlaps a stronger, kept one by more than this.

    Returns:
        The kept claims by descending score, then box.
    """
    return claims.take(strongest_indices(claims, iou))


def strongest_indices(claims: Claims, iou: float) -> Indices:
    """Indices of the claims that `strongest` keeps, in its order."""
    order = claims.order()
    boxes = claims.boxes[order]
    alive = np.ones(len(boxes), dtype=np.bool_)
    kept: list[int] = []
    for index in range(len(boxes)):
        if alive[index]:
            kept.append(index)
            rest = slice(index + 1, None)
            alive[rest] &= overlap(boxes[index], boxes[rest]) <= iou
    return order[kept]


def best_overlap(claims: Claims, others: Claims) -> Floats:
    """For each claim, its largest overlap with any of the others: N float64, 0..1."""
    if not len(others):
        return np.zeros(len(claims))
    return np.array([overlap(box, others.boxes).max() for box in claims.boxes], dtype=np.float64)


def confirmed(claims: Claims, others: Claims, iou: float) -> Indices:
    """Indices of the claims that another model's claim overlaps by at least ``iou``."""
    return np.flatnonzero(best_overlap(claims, others) >= iou)
