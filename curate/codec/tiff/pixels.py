"""Exact decoding of the pixels of one TIFF page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from curate.codec.decoding import (
    Indexed,
    check_size,
    decoder_messages,
    open_image,
    to_frame,
    used_palette,
)
from curate.codec.tiff import pages as tiff
from curate.codec.tiff.pages import Page, bare_page
from curate.core.errors import WithheldError
from curate.core.protocols import Frame

_OLD_JPEG = 6
_UNSIGNED = 1
_MAX_SAMPLES = 4
_PLANAR = 2
_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "LAB")
_DEEP_GRAY = ("I;16", "I;16B", "I;16L", "I;16N")
LAB_SIGN = np.array([0, 0x80, 0x80], np.uint8)
"""Files store a* and b* signed; frames store them with offset 128, as means require."""
_ALPHA_KINDS = {0: "RGBX", 1: "RGBa", 2: "RGBA"}


@dataclass(frozen=True, slots=True)
class DecodedPage:
    """A page's pixels.

    Args:
        mode: Pillow's name for them.
        frame: the channels that an obfuscator edits.
        indexed: the palette pixels behind ``frame``, for mode ``P``.
    """

    mode: str
    frame: Frame
    indexed: Indexed | None


def decode_page(page: Page, max_pixels: int) -> DecodedPage:
    """Decode one page.

    Raises:
        WithheldError: ``unsupported`` for pixels that are not whole numbers of
            8 or 16 bits, else as the decoder finds.
    """
    bits, formats = set(page.values(tiff.BITS, (1,))), set(page.values(tiff.SAMPLE_FORMAT, (1,)))
    if page.value(tiff.COMPRESSION, 1) == _OLD_JPEG:
        raise WithheldError("unsupported", "TIFF with JPEG data of the old kind")
    if formats != {_UNSIGNED} or len(bits) > 1:
        raise WithheldError("unsupported", "TIFF with signed, floating or mixed samples")
    if page.value(tiff.SAMPLES, 1) > _MAX_SAMPLES:
        raise WithheldError("unsupported", "TIFF with more than four samples per pixel")
    if page.value(tiff.TILE_WIDTH):
        check_size(page.value(tiff.TILE_WIDTH), page.value(tiff.TILE_HEIGHT), 1, max_pixels)
    size = (page.value(tiff.HEIGHT), page.value(tiff.WIDTH))
    samples = page.value(tiff.SAMPLES, 1)
    _check_pieces(page)
    if bits != {16} or samples == 1:
        decoded = _decode(page)
    elif page.value(tiff.PLANAR, 1) == _PLANAR:
        decoded = _decode_planes(page, samples)
    else:
        decoded = _decode_deep(page)
    if decoded.frame.shape[:2] != size:
        raise WithheldError("corrupt", "a TIFF page has another size than it states")
    return decoded


def _check_pieces(page: Page) -> None:
    """Check that all strips or tiles exist; decoders fill missing ones with black."""
    sizes = _piece_sizes(page)
    if len(page.pieces) != len(sizes):
        raise WithheldError("truncated", f"{len(page.pieces)} of {len(sizes)} parts of a page")
    plain = page.value(tiff.COMPRESSION, 1) == 1
    if plain and any(len(piece) < size for piece, size in zip(page.pieces, sizes, strict=True)):
        raise WithheldError("truncated", "a part of a TIFF page ends too early")


def _piece_sizes(page: Page) -> list[int]:
    """Uncompressed size of every strip or tile of a page, bytes."""
    width, height = page.value(tiff.WIDTH), page.value(tiff.HEIGHT)
    samples = page.value(tiff.SAMPLES, 1)
    planes, together = (samples, 1) if page.value(tiff.PLANAR, 1) == _PLANAR else (1, samples)
    bits = page.value(tiff.BITS, 1) * together
    across, down = page.value(tiff.TILE_WIDTH), page.value(tiff.TILE_HEIGHT)
    if across and down:
        count = -(-width // across) * -(-height // down) * planes
        return [down * -(-across * bits // 8)] * count
    down = min(page.value(tiff.ROWS_PER_STRIP) or height, height)
    row = -(-width * bits // 8)
    return [row * min(down, height - top) for top in range(0, height, down)] * planes


def _decode(page: Page) -> DecodedPage:
    with _without_messages(), open_image(bare_page(page), "TIFF") as image:
        mode = image.mode
        if mode in _DEEP_GRAY:
            return DecodedPage("I;16", to_frame(image).astype(np.uint16), None)
        if mode not in _MODES:
            raise WithheldError("unsupported", f"TIFF with pixels of kind {mode}")
        if mode == "P":
            indexed = used_palette(image)
            return DecodedPage(mode, indexed.colors(), indexed)
        frame = to_frame(image, "L" if mode == "1" else None)
        if mode == "LAB":
            frame = frame ^ LAB_SIGN
        if mode == "RGBA":
            mode = _alpha_mode(page)
        return DecodedPage(mode, frame, None)


@contextmanager
def _without_messages() -> Iterator[None]:
    """Raise if libtiff reports a problem, even if it continues."""
    with decoder_messages() as messages:
        yield
    if messages:
        raise WithheldError("corrupt", f"TIFF: {messages[0]}")


def _decode_deep(page: Page) -> DecodedPage:
    """Decode 16-bit color, which Pillow would reduce to 8 bits."""
    import cv2

    _check_deep(page)
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        data = np.frombuffer(bare_page(page), np.uint8)
        pixels = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if pixels is None or pixels.dtype != np.uint16 or pixels.ndim != 3:
        raise WithheldError("corrupt", "a TIFF page cannot be decoded")
    order = [2, 1, 0, 3][: pixels.shape[2]]
    mode = "RGB" if pixels.shape[2] == 3 else _alpha_mode(page)
    return DecodedPage(mode, np.ascontiguousarray(pixels[..., order]), None)


def _decode_planes(page: Page, samples: int) -> DecodedPage:
    """Decode planar 16-bit color, for which OpenCV returns uninitialized memory."""
    _check_deep(page)
    share = len(page.pieces) // samples
    changed = {
        tiff.SAMPLES: tiff.shorts(page.order, (1,)),
        tiff.BITS: tiff.shorts(page.order, (16,)),
        tiff.PHOTOMETRIC: tiff.shorts(page.order, (1,)),
        tiff.PLANAR: tiff.shorts(page.order, (1,)),
        tiff.SAMPLE_FORMAT: tiff.shorts(page.order, (_UNSIGNED,)),
    }
    kept = {tag: entry for tag, entry in page.entries.items() if tag != tiff.EXTRA_SAMPLES}
    planes = [
        _decode(
            Page(page.order, {**kept, **changed}, page.pieces[at * share : (at + 1) * share])
        ).frame
        for at in range(samples)
    ]
    mode = "RGB" if samples == 3 else _alpha_mode(page)
    return DecodedPage(mode, np.stack(planes, axis=-1), None)


def _check_deep(page: Page) -> None:
    if page.value(tiff.PHOTOMETRIC) != 2 or page.value(tiff.SAMPLES) not in (3, 4):
        raise WithheldError("unsupported", "TIFF with 16-bit pixels of this kind")


def _alpha_mode(page: Page) -> str:
    return _ALPHA_KINDS.get(page.value(tiff.EXTRA_SAMPLES), "RGBX")
