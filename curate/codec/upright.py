"""What a detector sees of a picture."""

from __future__ import annotations

import numpy as np

from curate.codec.picture import Picture
from curate.core.protocols import Frame, Pixels

_BRIGHT = 99.9  # the percentile of a dim 16-bit image that becomes white


def upright_rgb(picture: Picture, frame: int = 0) -> Pixels:
    """A frame as upright RGB, H×W×3 uint8, contiguous.

    Colours under transparent pixels are shown as they are stored, because
    anyone can bring them back; where the colours are all one and the alpha
    channel draws the picture, the alpha channel is shown. Samples of 16 bits
    are scaled to 8, and stretched if they fill less than half of their range,
    as 12-bit data does.
    """
    pixels = _to_eight_bits(picture.frames[frame])
    convert = {"CMYK": _cmyk_to_rgb, "LAB": _lab_to_rgb}.get(picture.mode, _to_rgb)
    rgb = convert(pixels)
    return np.ascontiguousarray(_turn(rgb, picture.orientation))


def _to_eight_bits(pixels: Frame) -> Pixels:
    if pixels.dtype == np.uint8:
        return np.asarray(pixels, np.uint8)
    white = float(np.percentile(pixels, _BRIGHT))
    if not 0 < white < 0x8000:
        white = 0xFFFF
    scaled = pixels.astype(np.float32) * np.float32(255 / white) + np.float32(0.5)
    return np.asarray(np.minimum(scaled, 255), np.uint8)


def _to_rgb(pixels: Pixels) -> Pixels:
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    channels = pixels.shape[2]
    if channels in (2, 4):
        colours, alpha = pixels[..., :-1], pixels[..., -1:]
        flat = not np.ptp(colours, axis=(0, 1)).any()
        pixels = alpha if flat and np.ptp(alpha) else colours
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


def _cmyk_to_rgb(pixels: Pixels) -> Pixels:
    ink, black = pixels[..., :3].astype(np.uint16), pixels[..., 3:].astype(np.uint16)
    return np.asarray(((255 - ink) * (255 - black) + 127) // 255, np.uint8)


def _lab_to_rgb(pixels: Pixels) -> Pixels:
    import cv2

    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_LAB2RGB), np.uint8)


def _turn(pixels: Pixels, orientation: int) -> Pixels:
    """Apply an EXIF orientation (CIPA DC-008, tag 0x0112)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
