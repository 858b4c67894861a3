"""All measures of a detector on labeled images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from curate.core.calibration import Calibration, measure_calibration
from curate.core.errors import UsageError, suggest
from curate.evaluation.matching import FaceTable, MatchedImage, Rules, tabulate
from curate.evaluation.scores import (
    CROSS,
    Estimate,
    FaceFree,
    Grouping,
    GroupScore,
    compare,
    count_false_boxes,
    estimate_share,
    score_all,
    score_heights,
)
from curate.evaluation.sweep import (
    AveragePrecision,
    CountedDetections,
    Curve,
    GroupSweep,
    Sweep,
    estimate_average_precision,
    sweep_groups,
)

MAX_VALUES = 12
"""Attributes with more values than this are skipped unless they are requested."""


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures of a detector on labeled images.

    Args:
        rules: definitions of the measures.
        images: number of images.
        ignored: faces that the labels mark as ignored.
        too_small: labeled faces below the minimum height.
        detections: number of detections.
        overall: all faces that count.
        precision: by IoU, the share of the detections that count that match a face.
        calibration: by IoU, of confidence as the probability that a detection that counts
            matches a face; none without detections or with confidences outside 0..1.
        curves: by IoU, precision–recall curves, from the sweep if there is one.
        average_precision: by IoU, of the curves.
        face_free: false boxes on images without any face.
        heights: scores by height.
        groupings: scores and gaps by each attribute.
        sweep: curves at other thresholds, or None.
    """

    rules: Rules
    images: int
    ignored: int
    too_small: int
    detections: int
    overall: GroupScore
    precision: Mapping[float, Estimate]
    calibration: Mapping[float, Calibration]
    curves: Mapping[float, Curve]
    average_precision: Mapping[float, AveragePrecision]
    face_free: FaceFree
    heights: tuple[GroupScore, ...]
    groupings: tuple[Grouping, ...]
    sweep: Sweep | None = None


def measure(
    images: Sequence[MatchedImage],
    rules: Rules,
    by: Sequence[str] = (),
    swept: Sequence[MatchedImage] | None = None,
) -> Measures:
    """Compute all measures.

    Args:
        images: matched at the operating point.
        rules: definitions of the measures.
        by: attributes to group faces by, or several crossed, as in ``gender,age``; by default
            all with 2 to `MAX_VALUES` values.
        swept: the same images, matched with detections down to a low confidence, or None.

    Raises:
        UsageError: if no face has a requested attribute.
    """
    table = tabulate(images, rules)
    names = choose_attributes(table, by)
    table = cross_attributes(table, names)
    groupings = tuple(compare(table, name, rules) for name in names)
    counted = {iou: count_detections(images, index) for index, iou in enumerate(rules.ious)}
    ranked = counted
    if swept is not None:
        ranked = {iou: count_detections(swept, index) for index, iou in enumerate(rules.ious)}
    curves = {iou: each.draw_curve() for iou, each in ranked.items()} if len(table) else {}
    sweep = None
    if swept is not None and curves:
        tables = table, cross_attributes(tabulate(swept, rules), names)
        sweep = _sweep(tables, groupings, curves, rules)
    return Measures(
        rules=rules,
        images=len(images),
        ignored=sum(image.ignored for image in images),
        too_small=sum(image.too_small for image in images),
        detections=sum(len(image.detections) for image in images),
        overall=score_all(table, rules),
        precision={iou: _estimate_precision(each, rules) for iou, each in counted.items()},
        calibration={
            iou: measure_calibration([(each.confidence, each.right)], each.image)
            for iou, each in counted.items()
            if len(each.image) and each.confidence.min() >= 0 and each.confidence.max() <= 1
        },
        curves=curves,
        average_precision={iou: estimate_average_precision(ranked[iou], rules) for iou in curves},
        face_free=count_false_boxes(
            [len(image.detections) for image in images if image.is_face_free], rules.seed
        ),
        heights=score_heights(table, rules),
        groupings=groupings,
        sweep=sweep,
    )


def choose_attributes(table: FaceTable, requested: Sequence[str]) -> list[str]:
    """Return the attributes to group faces by.

    Raises:
        UsageError: if no face has a requested attribute; lists the existing ones.
    """
    columns = {each: _split(each, table) for each in requested}
    for name in (part for parts in columns.values() for part in parts):
        if name not in table.attributes:
            known = ", ".join(table.attributes) or "none"
            hint = suggest(name, known.split(", "))
            raise UsageError(
                f"no labeled face has the attribute {name!r}; choose one of: {known}{hint}"
            )
    if requested:
        return list(dict.fromkeys(",".join(parts) for parts in columns.values()))
    return [
        name
        for name, values in table.attributes.items()
        if 2 <= len({value for value in values if value is not None}) <= MAX_VALUES
    ]


def cross_attributes(table: FaceTable, names: Sequence[str]) -> FaceTable:
    """Add the intersections of attributes, such as ``gender,age``, to a table.

    A face has no value of an intersection if it lacks one of the attributes.
    """
    crossed = {
        name: [
            None if None in parts else CROSS.join(str(part) for part in parts)
            for parts in zip(*(table.attributes[each] for each in _split(name, table)), strict=True)
        ]
        for name in names
        if name not in table.attributes
    }
    return replace(table, attributes={**table.attributes, **crossed})


def _split(name: str, table: FaceTable) -> list[str]:
    """Columns of an attribute or of an intersection."""
    if name in table.attributes:
        return [name]
    return [part.strip() for part in name.split(",")]


def count_detections(images: Sequence[MatchedImage], index: int) -> CountedDetections:
    """Collect the detections that count at one of the rules' IoUs."""
    counted = [
        (detection.confidence, right, number)
        for number, image in enumerate(images)
        for detection in image.detections
        if (right := detection.right[index]) is not None
    ]
    return CountedDetections(
        confidence=np.array([confidence for confidence, _, _ in counted], dtype=np.float64),
        right=np.array([right for _, right, _ in counted], dtype=np.bool_),
        image=np.array([number for _, _, number in counted], dtype=np.int64),
        faces=np.array([len(image.faces) for image in images], dtype=np.int64),
    )


def _estimate_precision(counted: CountedDetections, rules: Rules) -> Estimate:
    images = len(counted.faces)
    ones = np.ones(len(counted.image))
    right, total = (
        np.bincount(counted.image, each, minlength=images).astype(np.float64)
        for each in (counted.right * ones, ones)
    )
    return estimate_share(right, total, rules)


def _sweep(
    tables: tuple[FaceTable, FaceTable],
    groupings: Iterable[Grouping],
    curves: Mapping[float, Curve],
    rules: Rules,
) -> Sweep:
    groups: list[GroupSweep] = []
    for grouping in groupings:
        found = sweep_groups(grouping.name, grouping.groups, tables, curves[rules.ious[0]], rules)
        if found is not None:
            groups.append(found)
    return Sweep(curves, tuple(groups))
