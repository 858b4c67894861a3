"""How well a tool's boxes agree with labeled faces; pure.

The same definitions for every tool:

*Hidden*: a labeled face, clipped to the photo, counts as hidden where at least 80 %
of its area lies inside the union of the regions that the tool hides.

*Found*: the tool's boxes, not the regions that they are grown to, are matched one to one
with labeled faces of any size: by descending confidence, each takes the free face
with which its IoU is highest, if that is at least 0.3. Recall is the share of labeled
faces that are matched.

*Right*: precision is the share of boxes that are matched. A box that matches no face but
overlaps one that is labeled invalid (IoU at least 0.3) counts neither way.

By size: faces by the height of the label, boxes by their own height. The line of all sizes
counts labeled faces at least 16 px high, and every box, however small.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from curate.core.geometry import Box, clip, iou
from curate.core.intervals import ClusteredShare, share_clusters
from curate.core.intervals import Share as Share
from curate.evaluation.matching import share_inside as share_inside

MATCH_IOU = 0.3
HIDDEN_SHARE = 0.8
LEAST_HEIGHT = 16.0


@dataclass(frozen=True, slots=True)
class Detection:
    """A tool's box, before it is grown.

    Args:
        box: pixels of the photo as stored.
        confidence: the tool's own score.
    """

    box: Box
    confidence: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a tool for one photo.

    Args:
        detections: its boxes.
        hidden: the regions that it hides.
    """

    detections: tuple[Detection, ...] = ()
    hidden: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class LabeledPhoto:
    """The labels of one photo.

    Args:
        file: path within the data set.
        width: pixels.
        height: pixels.
        faces: the labeled faces.
        invalid: faces that the labels call invalid; they count neither way.
    """

    file: str
    width: int
    height: int
    faces: tuple[Box, ...]
    invalid: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True)
class MatchedFace:
    """A labeled face: its height in pixels, whether it is matched, and its hidden share."""

    height: float
    found: bool
    hidden: float


@dataclass(frozen=True, slots=True)
class MatchedBox:
    """A tool's box that counts: its height in pixels, and whether it is matched."""

    height: float
    right: bool


@dataclass(frozen=True, slots=True)
class MatchedPhoto:
    """One photo."""

    faces: tuple[MatchedFace, ...] = ()
    boxes: tuple[MatchedBox, ...] = ()


@dataclass(frozen=True, slots=True)
class Scores:
    """The three shares of one range of sizes, with intervals over photos."""

    hidden: ClusteredShare
    recall: ClusteredShare
    precision: ClusteredShare


def match_photo(photo: LabeledPhoto, answer: Answer) -> MatchedPhoto:
    """Compare a tool's answer with the labels of one photo."""
    detections = sorted(
        answer.detections, key=lambda detection: (-detection.confidence, detection.box)
    )
    matches = match([detection.box for detection in detections], photo.faces)
    taken = set(matches)
    faces = [
        MatchedFace(
            face.height,
            number in taken,
            share_inside(clip(face, photo.width, photo.height), answer.hidden),
        )
        for number, face in enumerate(photo.faces)
    ]
    boxes = [
        MatchedBox(detection.box.height, matched is not None)
        for detection, matched in zip(detections, matches, strict=True)
        if matched is not None or not _meets(detection.box, photo.invalid)
    ]
    return MatchedPhoto(tuple(faces), tuple(boxes))


def match(boxes: Sequence[Box], faces: Sequence[Box]) -> list[int | None]:
    """Match boxes, best first, one to one with faces; the face's index for each, or None."""
    free = set(range(len(faces)))
    matches: list[int | None] = []
    for box in boxes:
        best = max(free, key=lambda number: (iou(box, faces[number]), -number), default=None)
        if best is not None and iou(box, faces[best]) < MATCH_IOU:
            best = None
        if best is not None:
            free.remove(best)
        matches.append(best)
    return matches


def summarize(
    matched_photos: Sequence[MatchedPhoto], low: float = LEAST_HEIGHT, high: float = math.inf
) -> Scores:
    """The shares of faces and boxes whose height is at least ``low`` and below ``high``, pixels.

    Without bounds: faces at least 16 px high, and every box.
    """
    everything = low == LEAST_HEIGHT and high == math.inf
    faces = [
        [face for face in photo.faces if low <= face.height < high] for photo in matched_photos
    ]
    boxes = [
        [box for box in photo.boxes if everything or low <= box.height < high]
        for photo in matched_photos
    ]
    return Scores(
        hidden=_share([[face.hidden >= HIDDEN_SHARE for face in photo] for photo in faces]),
        recall=_share([[face.found for face in photo] for photo in faces]),
        precision=_share([[box.right for box in photo] for photo in boxes]),
    )


def _share(photos: Sequence[Sequence[bool]]) -> ClusteredShare:
    return share_clusters([sum(photo) for photo in photos], [len(photo) for photo in photos])


def _meets(box: Box, others: Iterable[Box]) -> bool:
    return any(iou(box, other) >= MATCH_IOU for other in others)
