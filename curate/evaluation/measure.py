"""All measures of a detector on labelled images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate.core.errors import UsageError
from curate.core.intervals import Share
from curate.evaluation.matching import FaceTable, MatchedImage, Rules, tabulate
from curate.evaluation.scores import (
    FaceFree,
    Grouping,
    GroupScore,
    compare,
    count_false_boxes,
    score_all,
    score_heights,
)
from curate.evaluation.sweep import Curve, GroupSweep, Sweep, draw_curve, sweep_groups

MAX_VALUES = 12
"""Attributes with more values than this are skipped unless they are requested."""


@dataclass(frozen=True, slots=True)
class Measures:
    """The measures of a detector on labelled images.

    Args:
        rules: definitions of the measures.
        images: number of images.
        ignored: faces that the labels mark as ignored.
        too_small: labelled faces below the minimum height.
        detections: number of detections.
        overall: all faces that count.
        precision: by IoU, the share of the detections that count that match a face.
        curves: by IoU, precision–recall curves, from the sweep if there is one.
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
    precision: Mapping[float, Share]
    curves: Mapping[float, Curve]
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
        by: attributes to group faces by; by default all with 2 to `MAX_VALUES` values.
        swept: the same images, matched with detections down to a low confidence, or None.

    Raises:
        UsageError: if no face has a requested attribute.
    """
    table = tabulate(images, rules)
    groupings = tuple(compare(table, name, rules) for name in choose_attributes(table, by))
    curves = _draw(images, len(table), rules)
    sweep = None
    if swept is not None:
        curves = _draw(swept, len(table), rules)
        sweep = _sweep(tabulate(swept, rules), groupings, curves, rules)
    return Measures(
        rules=rules,
        images=len(images),
        ignored=sum(image.ignored for image in images),
        too_small=sum(image.too_small for image in images),
        detections=sum(len(image.detections) for image in images),
        overall=score_all(table, rules),
        precision={
            iou: Share(sum(right), len(right))
            for index, iou in enumerate(rules.ious)
            for _, right in [_counted(images, index)]
        },
        curves=curves,
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
    for name in requested:
        if name not in table.attributes:
            known = ", ".join(table.attributes) or "none"
            raise UsageError(f"no labelled face has the attribute {name!r}; choose one of: {known}")
    if requested:
        return list(dict.fromkeys(requested))
    return [
        name
        for name, values in table.attributes.items()
        if 2 <= len({value for value in values if value is not None}) <= MAX_VALUES
    ]


def _counted(images: Iterable[MatchedImage], index: int) -> tuple[list[float], list[bool]]:
    """Confidence of each detection that counts at an IoU, and whether it matches a face."""
    counted = [
        (detection.confidence, right)
        for image in images
        for detection in image.detections
        if (right := detection.right[index]) is not None
    ]
    return [confidence for confidence, _ in counted], [right for _, right in counted]


def _draw(images: Sequence[MatchedImage], faces: int, rules: Rules) -> dict[float, Curve]:
    if not faces:
        return {}
    return {
        iou: draw_curve(*_counted(images, index), faces) for index, iou in enumerate(rules.ious)
    }


def _sweep(
    table: FaceTable,
    groupings: Iterable[Grouping],
    curves: Mapping[float, Curve],
    rules: Rules,
) -> Sweep | None:
    if not curves:
        return None
    curve = curves[rules.ious[0]]
    groups: list[GroupSweep] = []
    for grouping in groupings:
        found = sweep_groups(grouping.name, grouping.groups, rules.measures[0], table, curve)
        if found is not None:
            groups.append(found)
    return Sweep(curves, tuple(groups))
