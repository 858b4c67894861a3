"""256-bit perceptual hashes in the manner of PDQ, and small gray images to verify pairs with.

The hash is the sign of the low frequencies of a cosine transform against their median, after
*The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm* (Facebook, 2019).
The image is reduced by area averaging instead of PDQ's two box filters, so that hashes differ
from those of ``pdqhash`` by a few bits; distances mean the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from curate.core.geometry import turn
from curate.core.protocols import Pixels

BITS = 256
ORIENTATIONS = range(1, 9)
"""The turned and mirrored forms of an image, as EXIF numbers them; 1 is the image itself."""

WORDS = 4
"""Words of 64 bits in a hash."""

THRESHOLD = 31
"""Bits by which two hashes of one picture may differ, as PDQ recommends."""

MIN_QUALITY = 50
"""Below this an image has too little detail for its hash to mean anything."""

SIDE = 32
"""Side of the gray image that pairs are verified with, pixels."""

_GRID, _LOW = 64, 16
MIN_SIMILARITY = 0.9
"""Correlation of two gray images from which they are taken for the same picture."""
_SHIFTS = (-1, 0, 1)
_EDGE = 2  # pixels left out at the border, so that a shifted copy still overlaps
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)

Hashes = npt.NDArray[np.uint64]
"""N×4 uint64."""

Gray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Fingerprint:
    """What is kept of an image to find its near-duplicates.

    Args:
        hashes: 8×4 uint64: of the image as each EXIF orientation turns it, 1 to 8.
        quality: amount of detail, 0..100.
        gray: `SIDE`×`SIDE` uint8.
    """

    hashes: Hashes
    quality: int
    gray: Gray

    @property
    def hash(self) -> Hashes:
        """The hash of the image itself, 4 uint64."""
        return np.asarray(self.hashes[0], np.uint64)


def make_fingerprint(image: Pixels) -> Fingerprint:
    """Fingerprint an upright RGB image, H×W×3 uint8."""
    grid = _reduce(image, _GRID)
    gray = _reduce(image, SIDE)
    return Fingerprint(
        hashes=np.array([_hash(turn(grid, orientation)) for orientation in ORIENTATIONS]),
        quality=_measure_quality(grid),
        gray=np.clip(np.rint(gray), 0, 255).astype(np.uint8),
    )


def invert(orientation: int) -> int:
    """Return the EXIF orientation that turns an image back."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def distance(a: Hashes, b: Hashes) -> npt.NDArray[np.int64]:
    """Bits in which hashes differ, along the last axis."""
    return np.asarray(np.bitwise_count(a ^ b).sum(axis=-1, dtype=np.int64))


def similarity(a: Gray, b: Gray) -> float:
    """Correlation of two gray images, at the best of small shifts, -1..1.

    Brightness and contrast do not count. 0 where one image is flat.

    Args:
        a: `SIDE`×`SIDE` uint8.
        b: `SIDE`×`SIDE` uint8.
    """
    middle = _normalize(a[_EDGE:-_EDGE, _EDGE:-_EDGE])
    size = SIDE - 2 * _EDGE
    best = -1.0
    for down in _SHIFTS:
        for across in _SHIFTS:
            y, x = _EDGE + down, _EDGE + across
            part = _normalize(b[y : y + size, x : x + size])
            best = max(best, float((middle * part).sum()))
    return best


def _normalize(part: Gray) -> npt.NDArray[np.float32]:
    values = part.astype(np.float32)
    values -= values.mean()
    norm = float(np.sqrt((values * values).sum()))
    return values / norm if norm > 1e-6 else np.zeros_like(values)


def _reduce(image: Pixels, side: int) -> npt.NDArray[np.float32]:
    """Mean luma over a grid of ``side``×``side`` cells, float32."""
    import cv2

    small = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small.astype(np.float32) @ _LUMA, np.float32)


@cache
def _cosines() -> npt.NDArray[np.float32]:
    """Rows 1 to 16 of the cosine transform of 64 values, 16×64."""
    row = np.arange(1, _LOW + 1)[:, None]
    column = 2 * np.arange(_GRID)[None, :] + 1
    angle = np.pi / (2 * _GRID) * row * column
    return np.asarray(np.sqrt(2 / _GRID) * np.cos(angle), np.float32)


def _hash(grid: npt.NDArray[np.float32]) -> Hashes:
    cosines = _cosines()
    low = (cosines @ grid @ cosines.T).ravel()
    bits = low > np.median(low)
    return np.packbits(bits).view(np.uint64)


def _measure_quality(grid: npt.NDArray[np.float32]) -> int:
    """PDQ's measure: the sum of steps between neighboring cells, 0..100."""
    steps = sum(np.abs(np.trunc(np.diff(grid, axis=axis) * 100 / 255)).sum() for axis in (0, 1))
    return int(min(100, steps // 90))
