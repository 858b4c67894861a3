"""Everything that is measured of a detector on labelled images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate.core.errors import UsageError
from curate.core.intervals import Share
from curate.evaluation.groups import Grouping, compare
from curate.evaluation.matching import FaceTable, JudgedImage, Rules, tabulate
from curate.evaluation.scores import (
    FaceFree,
    GroupScore,
    count_false_boxes,
    score_all,
    score_heights,
)
from curate.evaluation.sweep import Curve, GroupSweep, Sweep, draw_curve, sweep_groups

MOST_VALUES = 12
"""Attributes with more values than this are passed over unless they are asked for."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a detector does on labelled images.

    Args:
        rules: what the figures mean.
        images: how many images were compared.
        ignored: labelled faces that the labels tell to ignore.
        too_small: labelled faces below the least height.
        claims: how many detections there are.
        overall: all faces that count.
        precision: by IoU, the share of detections that find a face, of those that count.
        curves: by IoU, precision and recall by confidence, from the sweep if there is one.
        face_free: false boxes on images without any face.
        heights: faces by height.
        groupings: faces by each attribute.
        sweep: what other thresholds would do, or None.
    """

    rules: Rules
    images: int
    ignored: int
    too_small: int
    claims: int
    overall: GroupScore
    precision: Mapping[float, Share]
    curves: Mapping[float, Curve]
    face_free: FaceFree
    heights: tuple[GroupScore, ...]
    groupings: tuple[Grouping, ...]
    sweep: Sweep | None = None


def evaluate(
    images: Sequence[JudgedImage],
    rules: Rules,
    by: Sequence[str] = (),
    swept: Sequence[JudgedImage] | None = None,
) -> Evaluation:
    """Measure a detector.

    Args:
        images: judged at the operating point.
        rules: what counts.
        by: attributes to group faces by; by default every one that has at least two
            values and not too many.
        swept: the same images, judged with detections down to a low confidence.

    Raises:
        UsageError: if no face has an attribute that is asked for.
    """
    table = tabulate(images, rules)
    groupings = tuple(compare(table, name, rules) for name in choose_attributes(table, by))
    curves = _draw(images, len(table), rules)
    sweep = None
    if swept is not None:
        curves = _draw(swept, len(table), rules)
        sweep = _sweep(tabulate(swept, rules), groupings, curves, rules)
    return Evaluation(
        rules=rules,
        images=len(images),
        ignored=sum(image.ignored for image in images),
        too_small=sum(image.too_small for image in images),
        claims=sum(len(image.claims) for image in images),
        overall=score_all(table, rules),
        precision={
            iou: Share(sum(right), len(right))
            for place, iou in enumerate(rules.ious)
            for _, right in [_counted(images, place)]
        },
        curves=curves,
        face_free=count_false_boxes(
            [len(image.claims) for image in images if image.is_face_free], rules.seed
        ),
        heights=score_heights(table, rules),
        groupings=groupings,
        sweep=sweep,
    )


def choose_attributes(table: FaceTable, asked: Sequence[str]) -> list[str]:
    """The attributes to group faces by.

    Raises:
        UsageError: if no face has one that is asked for; names those that there are.
    """
    for name in asked:
        if name not in table.attributes:
            known = ", ".join(table.attributes) or "none"
            raise UsageError(f"no face that counts has the attribute {name!r}; there are: {known}")
    if asked:
        return list(dict.fromkeys(asked))
    return [
        name
        for name, values in table.attributes.items()
        if 2 <= len({value for value in values if value is not None}) <= MOST_VALUES
    ]


def _counted(images: Iterable[JudgedImage], place: int) -> tuple[list[float], list[bool]]:
    """Confidence of each detection that counts at an IoU, and whether it finds a face."""
    claims = [
        (claim.confidence, right)
        for image in images
        for claim in image.claims
        if (right := claim.right[place]) is not None
    ]
    return [confidence for confidence, _ in claims], [right for _, right in claims]


def _draw(images: Sequence[JudgedImage], faces: int, rules: Rules) -> dict[float, Curve]:
    if not faces:
        return {}
    return {
        iou: draw_curve(*_counted(images, place), faces) for place, iou in enumerate(rules.ious)
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
