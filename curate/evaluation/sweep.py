"""Precision and recall by confidence threshold: curves, average precision, equal recall."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.intervals import (
    Floats,
    Interval,
    hull,
    iter_resamples,
    percentiles,
    share_clusters,
    widened_tail,
    wilson,
)
from curate.evaluation.matching import FaceTable, Rules
from curate.evaluation.scores import GroupScore

_STEPS = 101


@dataclass(frozen=True, slots=True)
class GroupThreshold:
    """The threshold at which a group's recall equals that of the best group.

    Args:
        group: the group.
        threshold: the highest such confidence, or None if there is none in the sweep.
        interval: 95 % interval of the cluster bootstrap over images; an end is None if no
            threshold of the sweep is low enough there.
        unreached: share of the resamples in which no threshold is low enough.
        precision: of all detections at that threshold, or None.
    """

    group: str
    threshold: float | None
    interval: tuple[float | None, float | None]
    unreached: float
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
    name: str,
    scores: Sequence[GroupScore],
    tables: tuple[FaceTable, FaceTable],
    curve: Curve,
    rules: Rules,
) -> GroupSweep | None:
    """Sweep the threshold for the groups of an attribute.

    Args:
        name: the attribute.
        scores: its groups at the operating point.
        tables: the same faces, matched at the operating point, and with detections down to a
            low confidence.
        curve: of all these detections, at the rules' first IoU.
        rules: seed and number of resamples of the bootstrap.

    Returns:
        None if fewer than two groups are compared.
    """
    compared = [group for group in scores if group.compared]
    if len(compared) < 2:
        return None
    operating, table = tables
    values = np.array(table.attributes[name], dtype=object)
    rows = {group.name: values == group.name for group in compared}
    recall = {group: float(operating.good[own, 0].mean()) for group, own in rows.items()}
    best = max(recall, key=lambda group: recall[group])
    target = recall[best]
    found = {group: _matched(table, own) for group, own in rows.items()}
    drawn = _resample_thresholds(operating, table, rows, best, rules)
    floor = float(curve.confidence[-1]) if len(curve.confidence) else 0.0
    steps = np.linspace(floor, 1.0, _STEPS)
    return GroupSweep(
        name=name,
        thresholds=tuple(steps.tolist()),
        recall={group: tuple(_recall(each, steps).tolist()) for group, each in found.items()},
        best=best,
        target=target,
        group_thresholds=tuple(
            _find_group_threshold(
                group,
                highest_threshold(each, target),
                (drawn[group], len(np.unique(table.image[rows[group] | rows[best]]))),
                curve,
            )
            for group, each in found.items()
        ),
    )


def _resample_thresholds(
    operating: FaceTable,
    table: FaceTable,
    rows: Mapping[str, npt.NDArray[np.bool_]],
    best: str,
    rules: Rules,
) -> dict[str, Floats]:
    """Thresholds of each group in bootstrap samples of images.

    Returns:
        Minus infinity where no threshold is low enough, NaN without faces of either group.
    """
    _, images = np.unique(table.image, return_inverse=True)
    clusters = int(images.max()) + 1
    faces = {name: _sorted_faces(table, images, own) for name, own in rows.items()}
    own = rows[best]
    good = np.bincount(images[own], operating.good[own, 0], minlength=clusters)
    all_ = np.bincount(images[own], minlength=clusters)
    found: dict[str, list[Floats]] = {name: [] for name in rows}
    for times in iter_resamples(clusters, rules.draws, rules.seed, len(images)):
        count = times @ all_
        target = np.divide(times @ good, count, out=np.full(len(times), np.nan), where=count > 0)
        for name, (confidence, image) in faces.items():
            found[name].append(_weighted_threshold(confidence, times[:, image], target))
    return {name: np.concatenate(each) for name, each in found.items()}


def _sorted_faces(
    table: FaceTable, images: npt.NDArray[np.int64], own: npt.NDArray[np.bool_]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Confidence, descending, and image of each face of a group."""
    matched = _matched(table, own)
    order = np.argsort(-matched, kind="stable")
    return matched[order], images[own][order]


def _weighted_threshold(confidence: Floats, times: npt.NDArray[np.int64], target: Floats) -> Floats:
    """Highest threshold with a recall of at least the target, per resample.

    Args:
        confidence: of each face, descending, shape (F,).
        times: how often each face is drawn, shape (draws, F).
        target: recall, shape (draws,).
    """
    total = times.sum(axis=1)
    reached = times.cumsum(axis=1) >= np.ceil(target * total - 1e-9)[:, None]
    found: Floats = np.where(reached.any(axis=1), confidence[reached.argmax(axis=1)], -np.inf)
    found[target <= 0] = 1.0
    found[(total == 0) | np.isnan(target)] = np.nan
    return found


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
    group: str, threshold: float | None, drawn: tuple[Floats, int], curve: Curve
) -> GroupThreshold:
    """Join the estimate with its interval; ``drawn`` are resamples and number of images."""
    samples, images = drawn
    known = samples[~np.isnan(samples)]
    tail = widened_tail(images)
    low, high = np.quantile(known, [tail, 1 - tail], method="nearest")
    unreached = float(np.isneginf(known).mean())
    interval = tuple(float(end) if math.isfinite(end) else None for end in (low, high))
    precision = None
    if threshold is not None:
        taken = np.flatnonzero(curve.confidence >= threshold)
        precision = float(curve.precision[taken[-1]]) if len(taken) else None
    return GroupThreshold(group, threshold, (interval[0], interval[1]), unreached, precision)


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

        All-point interpolation, as PASCAL VOC since 2010 (Everingham et al., IJCV 88, 2010).
        """
        return float((np.diff(self.recall, prepend=0.0) * self.interpolated).sum())

    @property
    def coco_average_precision(self) -> float:
        """Mean interpolated precision at recalls 0, 0.01, …, 1, as in COCO's evaluation.

        Recalls that are not reached have precision 0.
        """
        at = np.searchsorted(self.recall, np.linspace(0, 1, 101), side="left")
        return float(np.append(self.interpolated, 0.0)[at].mean())

    @property
    def interpolated(self) -> Floats:
        """The highest precision at this or any higher recall."""
        return np.maximum.accumulate(self.precision[::-1])[::-1]

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


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Average precision: the mean over faces of the interpolated precision at which each is found.

    Args:
        value: with all-point interpolation; see `Curve`.
        coco: at COCO's 101 recalls.
        interval: 95 %, of ``value``: hull of Wilson's interval at the effective number of faces,
            which is conservative for means of values from 0 to 1, and of the cluster bootstrap
            over images.
    """

    value: float
    coco: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class CountedDetections:
    """The D detections that count at an IoU, and the faces, of N images.

    Args:
        confidence: float64, shape (D,).
        right: whether each matches a face, bool, shape (D,).
        image: index of its image, int64, shape (D,).
        faces: labeled faces that count, by image, int64, shape (N,).
    """

    confidence: Floats
    right: npt.NDArray[np.bool_]
    image: npt.NDArray[np.int64]
    faces: npt.NDArray[np.int64]

    def draw_curve(self) -> Curve:
        """The precision–recall curve; needs at least one face."""
        return draw_curve(self.confidence, self.right, int(self.faces.sum()))


def estimate_average_precision(counted: CountedDetections, rules: Rules) -> AveragePrecision:
    """Estimate average precision; needs at least one face.

    Args:
        counted: detections and faces.
        rules: seed and number of resamples of the bootstrap.
    """
    curve = counted.draw_curve()
    order = np.argsort(-counted.confidence, kind="stable")
    confidence, right = counted.confidence[order], counted.right[order].astype(np.float64)
    image, last = counted.image[order], np.flatnonzero(np.diff(confidence, append=-np.inf))
    first, images = np.append(0, last[:-1] + 1), len(counted.faces)
    # Of each face that is found, the interpolated precision.
    precision_of = np.repeat(curve.interpolated, np.diff(last, prepend=-1)) * right
    share = share_clusters(np.bincount(image, precision_of, minlength=images), counted.faces)
    samples: list[Floats] = []
    for times in (
        iter_resamples(images, rules.draws, rules.seed, 2 * len(image)) if len(image) else ()
    ):
        drawn = times[:, image]
        hits = np.add.reduceat(drawn * right, first, axis=1)
        below = np.add.reduceat(drawn, first, axis=1).cumsum(axis=1)
        above = hits.cumsum(axis=1)
        precision = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
        raised = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        total = times @ counted.faces
        area = (hits * raised).sum(axis=1)
        samples.append(np.divide(area, total, out=np.full_like(area, np.nan), where=total > 0))
    clustered = percentiles(np.concatenate(samples), clusters=share.clusters) if samples else None
    value = curve.average_precision
    # The share is rounded to whole faces, so that its interval need not contain the value.
    interval = hull(wilson(share), Interval(value, value))
    return AveragePrecision(value, curve.coco_average_precision, hull(interval, clustered))
