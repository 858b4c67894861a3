"""Manifest entries: how one image was processed, and with what result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from curate.core.faces import Face
from curate.core.geometry import Box

Scalar = str | int | float | bool | None

SURPLUS = "there are more of its group than the target"
SHORTAGE = "there are fewer of its group than the target"
REMOVED = "removed"
"""Reasons why a correction removes or copies a record, other than its labels."""
WITHDRAWN = "withdrawn"
"""Code of the reason of images removed, with their annotations, from a finished output."""


@dataclass(frozen=True, slots=True)
class Transform:
    """One recorded processing step; enough to repeat it.

    Args:
        name: registered name of the obfuscation method.
        version: version of the method; changes when its output bytes change.
        parameters: all options that can change the output.
    """

    name: str
    version: str
    parameters: Mapping[str, Scalar]


class Outcome(StrEnum):
    """Whether an image entered the output."""

    WRITTEN = "written"
    WITHHELD = "withheld"


class Route(StrEnum):
    """How the pixels outside the masks were kept."""

    COPIED = "copied"  # compressed data of the source; only metadata removed
    SPLICED = "spliced"  # JPEG: only DCT blocks that intersect a mask rewritten
    LOSSLESS = "lossless"  # decoded and re-encoded without loss
    REENCODED = "reencoded"  # lossy encoding of the whole image


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """Result of processing one image.

    Sizes and boxes are in pixels of the image as stored, before EXIF
    orientation. Fields that are unknown for a withheld image are None.

    Args:
        faces: faces of all frames without duplicates; each lists its frames.
        hidden: one region per face, in the same order.
        pixels_sha256: digest of the output's decoded frames; None if the
            compressed data is the source's.
        blurred_share: share of the image's area inside any hidden region, 0..1.
    """

    id: str
    split: str | None
    category: str | None
    source_path: str
    source_sha256: str | None
    source_bytes: int | None
    width: int | None = None
    height: int | None = None
    mode: str | None = None
    orientation: int | None = None
    outcome: Outcome = Outcome.WITHHELD
    reason: str | None = None
    route: Route | None = None
    faces: tuple[Face, ...] = ()
    hidden: tuple[Box, ...] = ()
    transforms: tuple[Transform, ...] = ()
    blurred_share: float | None = None
    output_path: str | None = None
    output_sha256: str | None = None
    output_bytes: int | None = None
    pixels_sha256: str | None = None
