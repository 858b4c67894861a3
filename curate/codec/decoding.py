"""Guards around the decoders: every warning or unexpected exception withholds the image."""

from __future__ import annotations

import io
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from curate.core.errors import WithheldError
from curate.core.protocols import Frame

MAX_FRAMES = 1000
"""Maximum number of frames or pages of a file, each of which a detector must process."""

_LARGE = 32 << 20
"""Pixels above which a file must not be small: decoding and detection take 18 bytes of each."""
_BAND = 1 << 20  # pixels that are copied at a time
_MAX_EXPANSION = 100
"""Maximum number of pixels per byte of a large image; photos have at most 20."""
_MAX_FRAMES_EXPANSION = 300
"""The same for several frames, of which most may hardly change."""


@contextmanager
def open_image(data: bytes, name: str) -> Iterator[Image.Image]:
    """Open a file with one specific reader of Pillow; warnings are errors.

    The caller has checked the size in the header against its own limit, so
    Pillow's limit is disabled.

    Args:
        data: the file.
        name: Pillow's name of the format.

    Raises:
        WithheldError: ``truncated`` or ``corrupt``.
    """
    limit = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with Image.open(io.BytesIO(data), formats=(name,)) as image:
                yield image
    except WithheldError:
        raise
    except (Exception, Warning) as error:  # decoders of damaged data raise anything
        cause = " ".join(str(error).split()) or type(error).__name__
        code = "truncated" if "truncated" in cause.lower() else "corrupt"
        raise WithheldError(code, f"{name}: {cause}") from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def merge_equal_colors(
    indices: npt.NDArray[np.uint8], colors: npt.NDArray[np.generic]
) -> npt.NDArray[np.uint8]:
    """Return indices of which each color has one, the first; else indices could hide a picture.

    Args:
        indices: H×W uint8.
        colors: N×C, the palette.
    """
    _, first, inverse = np.unique(colors, axis=0, return_index=True, return_inverse=True)
    table = first[inverse.ravel()].astype(np.uint8)
    return np.asarray(table[indices], np.uint8)


def check_size(
    width: int, height: int, frames: int, max_pixels: int, stored: int | None = None
) -> None:
    """Check the size in a file's header, before anything is allocated.

    Args:
        width: in pixels.
        height: in pixels.
        frames: number of frames.
        max_pixels: maximum number of pixels of one image, twice that of several frames.
        stored: size of the file in bytes, to compare with the pixels; None to skip this.

    Raises:
        WithheldError: ``corrupt`` for an empty image, ``bomb`` for one too large, with more
            than ``MAX_FRAMES`` frames, or that expands as no photo does.
    """
    if width < 1 or height < 1 or frames < 1:
        raise WithheldError("corrupt", f"an image of {width}×{height} pixels, {frames} frames")
    if frames > MAX_FRAMES:
        raise WithheldError("bomb", f"{frames:,} frames; the limit is {MAX_FRAMES:,}")
    check_pixels(width * height * frames, frames, max_pixels)
    if stored is not None:
        check_expansion(width * height * frames, frames, stored)


def check_pixels(pixels: int, frames: int, max_pixels: int) -> None:
    """Check the number of pixels: of several frames, which are in memory at once, half as many.

    Raises:
        WithheldError: ``bomb``.
    """
    limit = max_pixels if frames == 1 else max_pixels // 2
    if pixels > limit:
        of = "" if frames == 1 else f" in {frames} frames"
        how = "--max-pixels" if frames == 1 else "half of --max-pixels"
        raise WithheldError("bomb", f"{pixels:,} pixels{of}; the limit is {limit:,} ({how})")


def opaque_as_rgb(frames: Iterable[Frame]) -> list[Frame]:
    """Return RGBA frames as RGB if all are opaque; takes one at a time, to bound memory."""
    found: list[Frame] = []
    for frame in frames:
        if frame.shape[2] == 4 and frame[..., 3].min() == 255:
            frame = np.ascontiguousarray(frame[..., :3])
        found.append(frame)
    if any(frame.shape[2] == 4 for frame in found):
        for number, frame in enumerate(found):
            if frame.shape[2] == 3:
                found[number] = np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])
    return found


def check_expansion(pixels: int, frames: int, stored: int) -> None:
    """Check that a large image is not almost empty, which costs the memory of a large photo.

    Args:
        pixels: number of pixels of all frames.
        frames: number of frames.
        stored: size of the file in bytes.

    Raises:
        WithheldError: ``bomb``.
    """
    limit = _MAX_EXPANSION if frames == 1 else _MAX_FRAMES_EXPANSION
    if pixels > max(_LARGE, limit * stored):
        raise WithheldError(
            "bomb", f"{pixels:,} pixels from {stored:,} bytes; the limit is {limit} per byte"
        )


def to_frame(image: Image.Image, mode: str | None = None) -> Frame:
    """Return the pixels of a Pillow image as a contiguous array, converted to ``mode`` if given.

    Pillow copies pixels several times on their way, so few rows are on it at a time.
    """
    width, height = image.size
    rows = max(1, _BAND // max(width, 1))
    if height <= rows:
        return _convert(image, mode)
    frame: Frame | None = None
    for top in range(0, height, rows):
        band = _convert(image.crop((0, top, width, min(top + rows, height))), mode)
        if frame is None:
            frame = np.empty((height, *band.shape[1:]), band.dtype)
        frame[top : top + len(band)] = band
    assert frame is not None  # noqa: S101 - narrows the type
    return frame


def _convert(image: Image.Image, mode: str | None) -> Frame:
    return np.array(image if mode is None or image.mode == mode else image.convert(mode))


@dataclass(frozen=True, slots=True)
class Indexed:
    """Pixels of a palette image.

    Args:
        indices: H×W uint8.
        palette: N×3 uint8; entries that no pixel uses are black.
    """

    indices: npt.NDArray[np.uint8]
    palette: npt.NDArray[np.uint8]

    def colors(self) -> Frame:
        """Return the pixels as RGB, H×W×3 uint8."""
        return np.ascontiguousarray(self.palette[self.indices])


def used_palette(image: Image.Image) -> Indexed:
    """Return a palette image's indices and the used entries of its palette, each color once.

    Raises:
        WithheldError: ``corrupt`` if an index is outside the palette.
    """
    indices = np.array(image, dtype=np.uint8)
    stored = image.getpalette("RGB") or []
    palette = np.array(stored, np.uint8).reshape(-1, 3)
    if int(indices.max()) >= len(palette):
        raise WithheldError("corrupt", "a pixel's color is not in the palette")
    indices = merge_equal_colors(indices, palette)
    used = np.bincount(indices.ravel(), minlength=256) > 0
    size = int(np.flatnonzero(used)[-1]) + 1
    return Indexed(indices, np.where(used[:size, None], palette[:size], np.uint8(0)))


_STANDARD_ERROR = 2
_CAPTURE = threading.RLock()
"""Standard error belongs to the process: two threads that redirected it at once would take each
other's messages, and could leave it redirected."""

_MESSAGE = re.compile(
    rb"(?:[\w/.-]+: |Apparently should be |Corrupt JPEG data|Premature end of JPEG"
    rb"|Inconsistent progression|Unknown Adobe color|DCT coefficient out of range).*\n?"
)


@contextmanager
def decoder_messages() -> Iterator[list[str]]:
    """Capture messages of libtiff and libjpeg, which their bindings do not report.

    These libraries fill in what they cannot decode and report it only by a line on
    standard error. The list is filled when the block ends; other output to standard
    error is passed on.
    """
    caught: list[str] = []
    with _CAPTURE:
        yield from _capture(caught)


def _capture(caught: list[str]) -> Iterator[list[str]]:
    try:
        before = os.dup(_STANDARD_ERROR)
    except OSError:  # standard error is closed
        yield caught
        return
    with _scratch_file() as file:
        os.dup2(file.fileno(), _STANDARD_ERROR)
        try:
            yield caught
        finally:
            os.dup2(before, _STANDARD_ERROR)
            os.close(before)
            file.seek(0)
            for line in file.readlines():
                if _MESSAGE.fullmatch(line):
                    caught.append(line.decode("utf-8", "replace").strip())
                else:
                    os.write(_STANDARD_ERROR, line)


def _scratch_file() -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("messages"), "w+b")
    return tempfile.TemporaryFile()
