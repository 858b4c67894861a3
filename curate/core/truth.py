"""What people say of the faces in an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from curate.core.geometry import Box


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
