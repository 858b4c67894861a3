"""From a model's claim to a region that will be hidden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class TruthFace:
    """A face that a person has labelled.

    Args:
        box: pixels of the image as stored; may be empty only where it is ignored.
        attributes: what the labels say of the face, by name; never empty texts.
        ignore: whether it counts neither way, as WIDER's ``invalid`` faces do.
        crowd: whether the box stands for a crowd, in which each detection is neutral.
    """

    box: Box
    attributes: Mapping[str, str] = field(default_factory=dict)
    ignore: bool = False
    crowd: bool = False


@dataclass(frozen=True, slots=True)
class TruthImage:
    """An image whose faces a person has labelled.

    Args:
        id: the image's id, as SOURCE has it.
        faces: every labelled face; none where the image has none.
        size: width and height as stored, pixels, or None where the labels do not say.
    """

    id: str
    faces: tuple[TruthFace, ...] = ()
    size: tuple[int, int] | None = None
