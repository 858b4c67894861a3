"""Detections, decided faces, hidden regions, and labeled faces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from curate.core.geometry import Box


@dataclass(frozen=True, slots=True)
class Detection:
    """A candidate face reported by a detector.

    Args:
        box: pixels of the image given to the detector.
        confidence: the model's score, 0..1; not comparable between models.
        detector: the detector's registered name.
    """

    box: Box
    confidence: float
    detector: str


@dataclass(frozen=True, slots=True)
class Face:
    """A face that will be hidden.

    Args:
        box: pixels of the image as stored.
        confidence: 0..1, or None if a person or a file decided.
        detectors: names of the detectors that found it, sorted.
        decided_by: ``detector``, ``file`` or ``person``.
        frames: indices of the frames in which it is hidden, ascending, from 0.
    """

    box: Box
    confidence: float | None = None
    detectors: tuple[str, ...] = ()
    decided_by: str = "detector"
    frames: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True)
class Region:
    """A face and the whole-pixel box in which no original pixel may survive.

    Args:
        face: the face as detected or given.
        hidden: the face grown by the margin, rounded outwards, clipped to the image.
    """

    face: Box
    hidden: Box


@dataclass(frozen=True, slots=True)
class TruthFace:
    """A labeled face (ground truth).

    Args:
        box: pixels of the image as stored; may be empty only if ``ignore``.
        attributes: labeled attributes by name; never empty strings.
        ignore: whether it counts neither as hit nor as miss, as WIDER FACE's ``invalid`` faces.
        crowd: whether the box marks a crowd, in which detections are ignored (COCO ``iscrowd``).
    """

    box: Box
    attributes: Mapping[str, str] = field(default_factory=dict)
    ignore: bool = False
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class TruthImage:
    """An image with labeled faces.

    Args:
        id: the image's id in SOURCE.
        faces: every labeled face.
        size: width and height as stored, pixels, or None if the labels do not give them.
        by_detector: whether a detector alone decided its labels.
    """

    id: str
    faces: tuple[TruthFace, ...] = ()
    size: tuple[int, int] | None = None
    by_detector: bool = False
