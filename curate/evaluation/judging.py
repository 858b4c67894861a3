"""One image's detections against its labels, and many images as a table of faces."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.faces import Detection
from curate.core.geometry import Box, clip
from curate.core.intervals import Floats
from curate.core.truth import TruthImage
from curate.evaluation.hiding import hidden_regions, share_inside
from curate.evaluation.matching import Matching, by_confidence, match
from curate.evaluation.rules import Rules


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
