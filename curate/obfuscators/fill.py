"""Fill: one color over each group of faces."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from curate.core.geometry import Box
from curate.core.protocols import Frame
from curate.obfuscators import masks
from curate.obfuscators.fixedpoint import mid_gray
from curate.obfuscators.masks import FillMethod, Mask
from curate.obfuscators.options import require

_MIN_RING = 2
_RING_SHARE = 8
_COLORS = "'mean', R,G,B, #rrggbb, #rgb or a gray level, with levels from 0 to 255"


@dataclass(frozen=True, slots=True)
class Fill(FillMethod):
    """Cover hidden regions with one color.

    Args:
        color: ``mean`` of a ring around each connected group of regions, which
            excludes all hidden pixels; or ``R,G,B``, ``#rrggbb``, ``#rgb`` or a gray level,
            in levels of 8 bits. A group that fills the image becomes mid-gray. A
            given color is opaque where the image has alpha (2 or 4 channels).
        feather: width of the soft edge outside the region, as a share of the face's
            longer side.

    Raises:
        UsageError: if ``color`` is invalid or ``feather`` is not within 0..1.
    """

    color: str = "mean"
    feather: float = 0.0

    name = "fill"
    version = "1"
    keeps = "nothing"

    def __post_init__(self) -> None:
        valid = self.color == "mean" or parse_color(self.color) is not None
        require(valid, "color", self.color, _COLORS)
        FillMethod.__post_init__(self)

    def _fill(self, image: Frame, group: Sequence[Box], unknown: Mask, layer: Frame) -> None:
        given = parse_color(self.color)
        color = _mean_around(image, group, unknown) if given is None else _fit(given, image)
        for box in group:
            row = (int(box.width), *image.shape[2:])
            layer[box.slices] = np.broadcast_to(color, row).copy()


def parse_color(text: str) -> tuple[int, int, int] | None:
    """Parse ``R,G,B``, ``#rrggbb``, ``#rgb`` or a gray level; None if invalid."""
    text = text.strip()
    if re.fullmatch(r"#[0-9a-fA-F]{3}|#[0-9a-fA-F]{6}", text):
        digits = text[1:] if len(text) == 7 else "".join(digit * 2 for digit in text[1:])
        red, green, blue = bytes.fromhex(digits)
        return red, green, blue
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (1, 3) or not all(re.fullmatch(r"[0-9]{1,3}", part) for part in parts):
        return None
    levels = [int(part) for part in parts] * (3 if len(parts) == 1 else 1)
    return (levels[0], levels[1], levels[2]) if max(levels) <= 255 else None


def _fit(color: tuple[int, int, int], image: Frame) -> Frame:
    """Convert a color to the image's channels and depth; gray is ITU-R BT.601 luma."""
    red, green, blue = color
    channels = image.shape[2] if image.ndim == 3 else 1
    if channels < 3:
        levels = [(299 * red + 587 * green + 114 * blue + 500) // 1000, 255][:channels]
    else:
        levels = [red, green, blue, 255][:channels]
    depth = 257 if image.dtype == np.uint16 else 1
    return np.array([level * depth for level in levels], dtype=image.dtype)


def _mean_around(image: Frame, group: Sequence[Box], unknown: Mask) -> Frame:
    """Rounded mean of the known pixels around a group of boxes; mid-gray if there are none."""
    height, width = unknown.shape
    ring = max(_MIN_RING, int(masks.longer_side(masks.enclose(group))) // _RING_SHARE)
    at = masks.surroundings(group, ring, width, height).slices
    known = 1 - unknown[at]
    count = int(np.count_nonzero(known))
    if count == 0:
        return np.array(mid_gray(image.dtype), dtype=image.dtype)
    seen = np.zeros(image[at].shape, dtype=image.dtype)
    cv2.copyTo(image[at], known, seen)
    total = [int(channel) for channel in cv2.sumElems(seen)]  # integers, exact in float64
    mean = [(2 * channel + count) // (2 * count) for channel in total]
    channels = image.shape[2] if image.ndim == 3 else 1
    return np.array(mean[:channels], dtype=image.dtype)
