"""Decoded pictures, encoding options, and the ``Codec`` protocol of every image format."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from curate.codec.metadata.allow_list import KEEPABLE, Metadata
from curate.core.entries import Route
from curate.core.errors import UsageError
from curate.core.geometry import Box
from curate.core.protocols import Frame

UNUSED_COLORS = "colors in a palette that no pixel uses"
"""Finding of ``find_leaks``; harmless where the palette is a published standard one."""

EQUAL_COLORS = "palette entries of one color, by which a picture may be hidden"
"""Finding of ``find_leaks``."""


@dataclass(frozen=True, slots=True)
class CodecOptions:
    """Limits of the codec, and which metadata to keep.

    Args:
        max_pixels: maximum number of pixels a file may decode to, summed over frames.
        keep_metadata: names of groups of EXIF tags to keep, from ``KEEPABLE``;
            orientation and color profile are always kept.

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


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded image in stored coordinates (EXIF orientation not applied).

    Args:
        format: actual format: ``JPEG``, ``PNG``, ``WEBP``, ``TIFF``, ``BMP`` or ``GIF``.
        mode: Pillow's name of the stored pixels: ``RGB``, ``L``, ``P``, ``CMYK``, ``I;16``, …
        width: of the first frame, pixels.
        height: of the first frame, pixels.
        orientation: EXIF orientation, 1–8; 1 if absent or invalid.
        frames: every frame, H×W or H×W×C, uint8 or uint16; the channels that an
            obfuscator edits, including colors of fully transparent pixels.
        metadata: metadata of the output.
        stored: what the format's codec needs to encode the file again.
        note: what was dropped on loading, for the manifest, or None.
        edit_unit: width and height in pixels of the smallest unit that can be
            rewritten: 1×1 for lossless formats, the MCU for JPEG.
        edit_apron: pixels on each side of a rewritten unit whose decoded values may
            change: one chroma sample for subsampled JPEG, which decoders interpolate.
        layer: decodes a frame of an animation before compositing, H×W×4, where it may
            contain what the composited frames do not show; else None, or returns None.
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
    edit_unit: tuple[int, int] = (1, 1)
    edit_apron: tuple[int, int] = (0, 0)
    layer: Callable[[int], Frame | None] | None = None


@dataclass(frozen=True, slots=True)
class Encoded:
    """An encoded image.

    Args:
        data: the whole file.
        route: how pixels outside the touched boxes were kept.
        note: one line for the manifest, or None.
    """

    data: bytes
    route: Route
    note: str | None = None


class Codec(Protocol):
    """Reads and writes one image format.

    The contract, tested for every format: loading and saving without changes keeps
    all pixels; pixels outside the touched boxes are kept, exactly for lossless
    formats and outside the touched MCUs for JPEG; ``find_leaks`` of whatever
    ``save`` returns is empty; damaged files raise `WithheldError` and nothing else.
    """

    name: str
    """The format's registered name."""

    def load(self, data: bytes, options: CodecOptions) -> Picture:
        """Decode a file, all frames.

        Raises:
            WithheldError: if the file cannot be decoded completely.
        """
        ...

    def save(
        self,
        picture: Picture,
        frames: Sequence[Frame] | None,
        touched: Sequence[Sequence[Box]],
        options: CodecOptions,
    ) -> Encoded:
        """Encode a picture; ``frames`` is None if nothing changed.

        Raises:
            WithheldError: if it cannot be encoded in this format.
        """
        ...

    def find_leaks(self, data: bytes, options: CodecOptions) -> list[str]:
        """List what an output contains besides pixels and allow-listed metadata.

        Raises:
            WithheldError: if the file is damaged.
        """
        ...


def digest_pixels(picture: Picture) -> str:
    """Return the SHA-256 of every frame's shape, dtype and pixels, in hexadecimal.

    Files with equal digests decode to equal pixels, whatever their compressed bytes.
    """
    total = hashlib.sha256()
    for frame in picture.frames:
        pixels = np.ascontiguousarray(frame)
        total.update(f"{pixels.shape} {pixels.dtype.str}\n".encode())
        total.update(pixels.data)
    return total.hexdigest()


def changed_mask(picture: Picture, touched: Sequence[Box], index: int = 0) -> npt.NDArray[np.bool_]:
    """Return H×W, True where decoded pixels may change when ``touched`` is rewritten.

    Args:
        picture: the source, as loaded.
        touched: whole-pixel boxes outside which the new frame is unchanged.
        index: which frame; frames may differ in size.
    """
    mask = np.zeros(picture.frames[index].shape[:2], dtype=bool)
    (step_x, step_y), (apron_x, apron_y) = picture.edit_unit, picture.edit_apron
    for box in touched:
        x0, x1 = _align(box.x0, box.x1, step_x, apron_x)
        y0, y1 = _align(box.y0, box.y1, step_y, apron_y)
        mask[max(y0, 0) : y1, max(x0, 0) : x1] = True
    return mask


def _align(low: float, high: float, step: int, apron: int) -> tuple[int, int]:
    return int(low) // step * step - apron, -(-int(high) // step) * step + apron
