"""From a model's claim to a region that will be hidden."""

from __future__ import annotations

from dataclasses import dataclass

from curate.core.geometry import Box


@dataclass(frozen=True, slots=True)
class Detection:
    """A model's claim that there is a face.

    Args:
        box: where, in pixels of the image that the detector was shown.
        confidence: the model's own score, 0..1; not comparable between models.
        detector: the detector's registered name.
    """

    box: Box
    confidence: float
    detector: str


@dataclass(frozen=True, slots=True)
class Face:
    """A region decided to be a face, and by whom.

    Args:
        box: the face, in pixels of the image as stored.
        confidence: 0..1, or None where a person or a file said so.
        detectors: names of the detectors whose claims support it, sorted.
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
    """A face and the whole-pixel box in which nothing of the original may be left.

    Args:
        face: the face as detected or given.
        hidden: the face grown by the margin, rounded outwards, clipped to the image.
    """

    face: Box
    hidden: Box
