"""Which detection finds which labelled face."""

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
from curate.core.intervals import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the figures of an evaluation mean.

    Args:
        ious: least intersection over union of a detection and the face that it finds;
            the first is the one that the sweep uses.
        margin: growth of a detection on every side before it hides anything, as a
            share of its longer side.
        hidden_share: least share of a face's area inside the hidden regions.
        least_height: labelled faces lower than this, pixels, count neither way, and
            nor do detections lower than this that find no face.
        heights: bounds of the ranges of height, pixels, ascending.
        seed: of the bootstrap.

    Raises:
        UsageError: if the least height cannot be one.
    """

    ious: tuple[float, ...] = (0.3, 0.5)
    margin: float = 0.15
    hidden_share: float = 0.8
    least_height: float = 8.0
    heights: tuple[float, ...] = (8.0, 16.0, 32.0, 64.0, math.inf)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.least_height < math.inf:
            raise UsageError(f"least-height cannot be {self.least_height}; give 0 or more pixels")

    @property
    def measures(self) -> tuple[str, ...]:
        """Names of what is measured of each face: a recall per IoU, and whether it is hidden."""
        return (*(f"recall_{round(100 * iou)}" for iou in self.ious), "hidden")


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


def hidden_regions(
    detections: Iterable[Detection], margin: float, size: tuple[int, int] | None
) -> list[Box]:
    """The regions that an obfuscator hides: boxes grown, rounded outwards, clipped.

    Args:
        detections: in stored pixels.
        margin: growth on every side, as a share of a box's longer side.
        size: the image's width and height, pixels; None where they are not known.
    """
    grown = (round_out(grow(each.box, margin)) for each in detections)
    return [clip(box, *size) if size else box for box in grown]


def share_inside(box: Box, regions: Sequence[Box]) -> float:
    """Share of a box's area inside the union of regions, 0..1; 0 for an empty box."""
    if box.is_empty:
        return 0.0
    parts = [region for region in regions if intersection(box, region) > 0]
    # Between two neighbouring edges nothing changes, so each cell is inside or outside whole.
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
class JudgedFace:
    """A labelled face that counts.

    Args:
        box: as labelled, stored pixels.
        found: for each IoU of the rules, the confidence of the detection that finds
            it; NaN where none does.
        hidden: share of its area inside the hidden regions, 0..1.
        attributes: what the labels say of it.
    """

    box: Box
    found: tuple[float, ...]
    hidden: float
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class JudgedClaim:
    """A detection.

    Args:
        confidence: the detector's own score.
        right: for each IoU of the rules, whether it finds a face; None where it
            counts neither way.
    """

    confidence: float
    right: tuple[bool | None, ...]


@dataclass(frozen=True, slots=True)
class JudgedImage:
    """One image.

    Args:
        id: the image's id.
        faces: its labelled faces that count.
        claims: its detections, by descending confidence.
        ignored: labelled faces that the labels tell to ignore.
        too_small: further labelled faces that are lower than the rules' least height.
    """

    id: str
    faces: tuple[JudgedFace, ...]
    claims: tuple[JudgedClaim, ...]
    ignored: int = 0
    too_small: int = 0

    @property
    def is_face_free(self) -> bool:
        """Whether nothing at all is labelled, so that every detection is a false one."""
        return not (self.faces or self.ignored or self.too_small)


def judge(
    truth: TruthImage,
    detections: Sequence[Detection],
    rules: Rules,
    size: tuple[int, int] | None = None,
) -> JudgedImage:
    """Compare the detections of one image with its labels.

    Args:
        truth: the labels.
        detections: in stored pixels.
        rules: what counts.
        size: the image's width and height, pixels; None where they are not known.
    """
    claims = by_confidence(detections)
    counts = [not face.ignore and face.box.height >= rules.least_height for face in truth.faces]
    matchings = [match(claims, truth.faces, counts, iou) for iou in rules.ious]
    regions = hidden_regions(claims, rules.margin, size)
    faces = [
        JudgedFace(
            face.box,
            tuple(_confidence(claims, each.faces[number]) for each in matchings),
            share_inside(clip(face.box, *size) if size else face.box, regions),
            face.attributes,
        )
        for number, face in enumerate(truth.faces)
        if counts[number]
    ]
    judged = [
        JudgedClaim(
            claim.confidence, tuple(_is_right(each, number, claim, rules) for each in matchings)
        )
        for number, claim in enumerate(claims)
    ]
    ignored = sum(face.ignore for face in truth.faces)
    too_small = len(truth.faces) - len(faces) - ignored
    return JudgedImage(truth.id, tuple(faces), tuple(judged), ignored, too_small)


def _confidence(claims: Sequence[Detection], index: int | None) -> float:
    return math.nan if index is None else claims[index].confidence


def _is_right(matching: Matching, number: int, claim: Detection, rules: Rules) -> bool | None:
    if number in matching.faces:
        return True
    # As in COCO, what is too low to be a face that counts is no false face either.
    too_low = claim.box.height < rules.least_height
    return None if too_low or matching.neutral[number] else False


@dataclass(frozen=True, slots=True)
class FaceTable:
    """The faces of many images, a row each.

    Args:
        image: F int64, the number of the image that a face is in.
        height: F float64, pixels.
        found: F×I float64, confidence of the detection that finds it, by IoU; NaN if none.
        good: F×M bool, whether it is found, by IoU, and hidden: the rules' measures.
        attributes: F texts by attribute name; None where the labels do not say.
    """

    image: npt.NDArray[np.int64]
    height: Floats
    found: Floats
    good: npt.NDArray[np.bool_]
    attributes: Mapping[str, Sequence[str | None]]

    def __len__(self) -> int:
        return len(self.image)


def tabulate(images: Sequence[JudgedImage], rules: Rules) -> FaceTable:
    """The faces of judged images as a table."""
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
