"""The values that go in and out of the codec."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.codec.metadata.exif import KEEPABLE
from curate.core.entries import Route
from curate.core.errors import UsageError
from curate.core.protocols import Frame


@dataclass(frozen=True, slots=True)
class CodecOptions:
    """What the codec accepts and keeps.

    Args:
        max_pixels: the most pixels a file may decode to, all frames together.
        keep_metadata: names of the groups of EXIF tags to carry over, from
            ``curate.codec.metadata.exif.KEEPABLE``; orientation and colour
            profile are always kept.

    Raises:
        UsageError: if a name is unknown.
    """

    max_pixels: int = 200_000_000
    keep_metadata: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.keep_metadata) - set(KEEPABLE))
        if unknown:
            known = ", ".join(KEEPABLE)
            raise UsageError(f"unknown metadata {', '.join(unknown)}; choose from: {known}")


@dataclass(frozen=True, slots=True)
class Metadata:
    """What of a file's metadata the output will carry: nothing else survives.

    Args:
        orientation: EXIF orientation, 1–8.
        exif: a rebuilt EXIF block (a TIFF file without the ``Exif`` prefix), or None.
        icc: a rebuilt colour profile, or None.
    """

    orientation: int = 1
    exif: bytes | None = None
    icc: bytes | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded image in stored coordinates, no EXIF rotation applied.

    Args:
        format: the real format: ``JPEG``, ``PNG``, ``WEBP``, ``TIFF``, ``BMP`` or ``GIF``.
        mode: Pillow's name for the stored pixels: ``RGB``, ``L``, ``P``, ``CMYK``, ``I;16``, …
        width: of the first frame, pixels.
        height: of the first frame, pixels.
        orientation: EXIF orientation, 1–8; 1 where absent or invalid.
        frames: every frame, H×W or H×W×C, uint8 or uint16; the channels that an
            obfuscator edits, colours under full transparency included.
        metadata: what the output will carry beside the pixels.
        stored: what the format's own module needs to write the file again.
        note: what was dropped on loading, for the manifest, or None.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    frames: tuple[Frame, ...]
    metadata: Metadata
    stored: Any
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image ready to be written.

    Args:
        data: the whole file.
        route: how pixels outside the touched boxes travelled.
        note: one line for the manifest where something is worth saying, or None.
    """

    data: bytes
    route: Route
    note: str | None = None


def digest_pixels(picture: Picture) -> str:
    """SHA-256 over every frame's shape, dtype and pixels, in hexadecimal.

    Two files of equal digest show the same, whatever their compressed bytes are.
    """
    total = hashlib.sha256()
    for frame in picture.frames:
        pixels = np.ascontiguousarray(frame)
        total.update(f"{pixels.shape} {pixels.dtype.str}\n".encode())
        total.update(pixels.data)
    return total.hexdigest()
