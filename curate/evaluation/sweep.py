"""Precision and recall by confidence threshold, of all faces and of each group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.intervals import Floats
from curate.evaluation.matching import FaceTable
from curate.evaluation.scores import GroupScore

_STEPS = 101


@dataclass(frozen=True, slots=True)
class GroupThreshold:
    """The threshold at which a group's recall equals that of the best group.

    Args:
        group: the group.
        threshold: the highest such confidence, or None if there is none in the sweep.
        precision: of all detections at that threshold, or None.
    """

    group: str
    threshold: float | None
    precision: float | None


@dataclass(frozen=True, slots=True)
class GroupSweep:
    """Recall of each group as a function of the threshold, at the rules' first IoU.

    Args:
        name: the attribute.
        thresholds: confidences, ascending.
        recall: by group, at each threshold.
        best: the group with the highest recall at the operating point.
        target: that recall.
        group_thresholds: one for each compared group.
    """

    name: str
    thresholds: tuple[float, ...]
    recall: Mapping[str, tuple[float, ...]]
    best: str
    target: float
    group_thresholds: tuple[GroupThreshold, ...]


@dataclass(frozen=True, slots=True)
class Sweep:
    """Curves over detections down to a low confidence.

    Args:
        curves: by IoU of the rules.
        groups: one for each attribute with compared groups.
    """

    curves: Mapping[float, Curve]
    groups: tuple[GroupSweep, ...]


def sweep_groups(
    name: str, scores: Sequence[GroupScore], measure: str, table: FaceTable, curve: Curve
) -> GroupSweep | None:
    """Sweep the threshold for the groups of an attribute.

    Args:
        name: the attribute.
        scores: its groups at the operating point.
        measure: the recall of the rules' first IoU.
        table: faces, matched with detections down to a low confidence.
        curve: of all these detections, at that IoU.

    Returns:
        None if fewer than two groups are compared.
    """
    compared = [group for group in scores if group.compared]
    if len(compared) < 2:
        return None
    best = max(compared, key=lambda group: group.measures[measure].share.value)
    target = best.measures[measure].share.value
    values = np.array(table.attributes[name], dtype=object)
    found = {group.name: _matched(table, values == group.name) for group in compared}
    floor = float(curve.confidence[-1]) if len(curve.confidence) else 0.0
    steps = np.linspace(floor, 1.0, _STEPS)
    return GroupSweep(
        name=name,
        thresholds=tuple(steps.tolist()),
        recall={group: tuple(_recall(each, steps).tolist()) for group, each in found.items()},
        best=best.name,
        target=target,
        group_thresholds=tuple(
            _find_group_threshold(group, each, target, curve) for group, each in found.items()
        ),
    )


def highest_threshold(matched: Floats, target: float) -> float | None:
    """Return the highest threshold at which a share of the faces is found.

    Args:
        matched: confidence of each face's detection, -inf for none, shape (F,).
        target: the share, 0..1.

    Returns:
        None if no threshold is low enough.
    """
    wanted = math.ceil(target * len(matched) - 1e-9)
    if wanted == 0:
        return 1.0
    threshold = float(np.sort(matched)[::-1][wanted - 1])
    return threshold if math.isfinite(threshold) else None


def _matched(table: FaceTable, chosen: npt.NDArray[np.bool_]) -> Floats:
    matched: Floats = np.nan_to_num(table.found[chosen, 0], nan=-np.inf)
    return matched


def _recall(matched: Floats, thresholds: Floats) -> Floats:
    return np.asarray((matched[:, None] >= thresholds[None, :]).mean(axis=0), dtype=np.float64)


def _find_group_threshold(
    group: str, matched: Floats, target: float, curve: Curve
) -> GroupThreshold:
    threshold = highest_threshold(matched, target)
    if threshold is None:
        return GroupThreshold(group, None, None)
    taken = np.flatnonzero(curve.confidence >= threshold)
    precision = float(curve.precision[taken[-1]]) if len(taken) else None
    return GroupThreshold(group, threshold, precision)


_MAX_POINTS = 200

SWEEP_FROM = 0.02
"""Minimum confidence of a sweep's detections."""


@dataclass(frozen=True, slots=True)
class Curve:
    """A precision–recall curve: a point per distinct confidence, descending.

    Args:
        confidence: threshold.
        recall: share of the faces that are found.
        precision: share of the detections that match a face.
    """

    confidence: Floats
    recall: Floats
    precision: Floats

    @property
    def average_precision(self) -> float:
        """Area under the curve, with precision interpolated to the maximum at a higher recall.

        All-point interpolation, as PASCAL VOC since 2010 (Everingham et al.,
        IJCV 88, 2010); COCO samples 101 points of the same curve.
        """
        raised = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float((np.diff(self.recall, prepend=0.0) * raised).sum())

    def thin(self) -> Curve:
        """Return at most 200 evenly spaced points, both ends included, to draw."""
        if len(self.confidence) <= _MAX_POINTS:
            return self
        chosen = np.linspace(0, len(self.confidence) - 1, _MAX_POINTS).round().astype(int)
        return Curve(self.confidence[chosen], self.recall[chosen], self.precision[chosen])


def draw_curve(confidence: npt.ArrayLike, right: npt.ArrayLike, faces: int) -> Curve:
    """Compute precision and recall over detections, with ties as one point.

    Args:
        confidence: of the detections that count, shape (N,).
        right: whether each matches a face, bool, shape (N,).
        faces: number of faces that count, at least 1.
    """
    scores = np.asarray(confidence, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.asarray(right, dtype=np.float64)[order].cumsum()
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # of each run of equal confidences
    return Curve(scores[last], hits[last] / faces, hits[last] / (last + 1.0))
