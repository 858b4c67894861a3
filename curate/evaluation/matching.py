"""Match detections with labeled faces: by intersection over union, and by hidden area."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import UsageError
from curate.core.faces import Detection, TruthFace, TruthImage
from curate.core.geometry import Box, clip, grow, intersection, round_out
from curate.core.intervals import DRAWS, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """Definitions of an evaluation's measures.

    Args:
        ious: minimum intersection over union (IoU) of a detection and the face it matches;
            the sweep uses the first.
        margin: growth of a detection on each side by obfuscation, as a share of its longer
            side.
        hidden_share: minimum share of a face's area inside the hidden regions.
        min_height: labeled faces lower than this, pixels, are ignored, and so are detections
            lower than this that match no face.
        heights: bounds of the height ranges, pixels, ascending.
        seed: random seed of the bootstrap.
        draws: number of bootstrap resamples.

    Raises:
        UsageError: if ``min_height`` is negative or not finite.
    """

    ious: tuple[float, ...] = (0.3, 0.5)
    margin: float = 0.15
    hidden_share: float = 0.8
    min_height: float = 8.0
    heights: tuple[float, ...] = (8.0, 16.0, 32.0, 64.0, math.inf)
    seed: int = 0
    draws: int = DRAWS

    def __post_init__(self) -> None:
        if not 0 <= self.min_height < math.inf:
            raise UsageError(f"min-height cannot be {self.min_height}; give 0 or more pixels")

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of the measures of each face: a recall per IoU, and ``hidden``."""
        return (*(f"recall_{round(100 * iou)}" for iou in self.ious), "hidden")


@dataclass(frozen=True, slots=True)
class Matching:
    """A matching of detections with the labeled faces of one image.

    Args:
        faces: for each face, the index of its detection, or None.
        neutral: for each detection, whether it is ignored.
    """

    faces: tuple[int | None, ...]
    neutral: tuple[bool, ...]


def by_confidence(detections: Sequence[Detection]) -> list[Detection]:
    """Sort detections by descending confidence, then box: the order of matching."""
    return sorted(detections, key=lambda each: (-each.confidence, each.box))


def match(
    detections: Sequence[Detection],
    faces: Sequence[TruthFace],
    counts: Sequence[bool],
    iou: float,
) -> Matching:
    """Match one to one and greedily, as PASCAL VOC and COCO do.

    Each detection, in descending order of confidence, is matched with the free face of the
    highest IoU, if that is at least ``iou``. A detection without a match is ignored if its
    IoU with an ignored face is as high, or if that share of it is inside a crowd region.

    Because of the order, removing the detections below some confidence changes none of the
    other matches.

    Args:
        detections: as `by_confidence` sorts them.
        faces: every labeled face.
        counts: for each face, whether it counts; others are ignored.
        iou: minimum intersection over union, 0..1.
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
        Two float64 arrays of shape (N, M), 0..1; 0 where the denominator is 0.
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


def hidden_regions(
    detections: Iterable[Detection], margin: float, size: tuple[int, int] | None
) -> list[Box]:
    """Return the regions that an obfuscator hides: boxes grown, rounded outwards, clipped.

    Args:
        detections: in stored pixels.
        margin: growth on every side, as a share of a box's longer side.
        size: the image's width and height, pixels, or None if unknown.
    """
    grown = (round_out(grow(each.box, margin)) for each in detections)
    return [clip(box, *size) if size else box for box in grown]


def share_inside(box: Box, regions: Sequence[Box]) -> float:
    """Share of a box's area inside the union of regions, 0..1; 0 for an empty box."""
    if box.is_empty:
        return 0.0
    parts = [region for region in regions if intersection(box, region) > 0]
    # Each cell between neighboring edges is either inside or outside as a whole.
    xs = _edges(box.x0, box.x1, [x for part in parts for x in (part.x0, part.x1)])
    ys = _edges(box.y0, box.y1, [y for part in parts for y in (part.y0, part.y1)])
    inside = 0.0
    for x0, x1 in itertools.pairwise(xs):
        for y0, y1 in itertools.pairwise(ys):
            x, y = (x0 + x1) / 2, (y0 + y1) / 2
            if any(part.x0 <= x < part.x1 and part.y0 <= y < part.y1 for part in parts):
                inside += (x1 - x0) * (y1 - y0)
    return min(inside / box.area, 1.0)


def _edges(low: float, high: float, between: Iterable[float]) -> list[float]:
    return sorted({low, high, *(value for value in between if low < value < high)})


@dataclass(frozen=True, slots=True)
class MatchedFace:
    """A labeled face that counts.

    Args:
        box: as labeled, stored pixels.
        found: for each IoU of the rules, the confidence of the matched detection, or NaN.
        hidden: share of its area inside the hidden regions, 0..1.
        attributes: its attributes in the labels.
    """

    box: Box
    found: tuple[float, ...]
    hidden: float
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MatchedDetection:
    """A detection.

    Args:
        confidence: the detector's score.
        right: for each IoU of the rules, whether it matches a face; None if ignored.
    """

    confidence: float
    right: tuple[bool | None, ...]


@dataclass(frozen=True, slots=True)
class MatchedImage:
    """The matched faces and detections of one image.

    Args:
        id: the image's id.
        faces: its labeled faces that count.
        detections: its detections, by descending confidence.
        ignored: faces that the labels mark as ignored.
        too_small: further labeled faces below the minimum height.
    """

    id: str
    faces: tuple[MatchedFace, ...]
    detections: tuple[MatchedDetection, ...]
    ignored: int = 0
    too_small: int = 0

    @property
    def is_face_free(self) -> bool:
        """Whether the image has no labeled face at all, so that every detection is false."""
        return not (self.faces or self.ignored or self.too_small)


def match_image(
    truth: TruthImage,
    detections: Sequence[Detection],
    rules: Rules,
    size: tuple[int, int] | None = None,
) -> MatchedImage:
    """Match the detections of one image with its labels.

    Args:
        truth: the labels.
        detections: in stored pixels.
        rules: definitions of the measures.
        size: the image's width and height, pixels, or None if unknown.
    """
    ordered = by_confidence(detections)
    counts = [not face.ignore and face.box.height >= rules.min_height for face in truth.faces]
    matchings = [match(ordered, truth.faces, counts, iou) for iou in rules.ious]
    regions = hidden_regions(ordered, rules.margin, size)
    faces = [
        MatchedFace(
            face.box,
            tuple(_confidence(ordered, each.faces[number]) for each in matchings),
            share_inside(clip(face.box, *size) if size else face.box, regions),
            face.attributes,
        )
        for number, face in enumerate(truth.faces)
        if counts[number]
    ]
    matched = [
        MatchedDetection(
            each.confidence,
            tuple(_is_right(matching, number, each, rules) for matching in matchings),
        )
        for number, each in enumerate(ordered)
    ]
    ignored = sum(face.ignore for face in truth.faces)
    too_small = len(truth.faces) - len(faces) - ignored
    return MatchedImage(truth.id, tuple(faces), tuple(matched), ignored, too_small)


def _confidence(detections: Sequence[Detection], index: int | None) -> float:
    return math.nan if index is None else detections[index].confidence


def _is_right(matching: Matching, number: int, detection: Detection, rules: Rules) -> bool | None:
    if number in matching.faces:
        return True
    # As in COCO, a detection below the minimum height is not a false one.
    too_low = detection.box.height < rules.min_height
    return None if too_low or matching.neutral[number] else False


@dataclass(frozen=True, slots=True)
class FaceTable:
    """The faces of many images, a row each.

    Args:
        image: index of the image of each face, int64, shape (F,).
        height: pixels, float64, shape (F,).
        found: confidence of the matched detection by IoU, or NaN, float64, shape (F, I).
        good: whether each of the rules' measures holds, bool, shape (F, M).
        attributes: F values by attribute name; None for no label.
    """

    image: npt.NDArray[np.int64]
    height: Floats
    found: Floats
    good: npt.NDArray[np.bool_]
    attributes: Mapping[str, Sequence[str | None]]

    def __len__(self) -> int:
        return len(self.image)


def tabulate(images: Sequence[MatchedImage], rules: Rules) -> FaceTable:
    """Return the faces of matched images as a table."""
    rows = [(number, face) for number, image in enumerate(images) for face in image.faces]
    found = np.array([face.found for _, face in rows], dtype=np.float64)
    found = found.reshape(len(rows), len(rules.ious))
    hidden = np.array([face.hidden for _, face in rows], dtype=np.float64)
    good = np.concatenate([np.isfinite(found), hidden[:, None] >= rules.hidden_share], axis=1)
    names = sorted({name for _, face in rows for name in face.attributes})
    return FaceTable(
        image=np.array([number for number, _ in rows], dtype=np.int64),
        height=np.array([face.box.height for _, face in rows], dtype=np.float64),
        found=found,
        good=good,
        attributes={name: [face.attributes.get(name) for _, face in rows] for name in names},
    )
