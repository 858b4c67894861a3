"""Verify that two images with near hashes show the same picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from curate.duplicates.hashing import SIDE, Gray

LEAST = 0.9
"""Correlation of two gray images from which they are taken for the same picture."""

_SHIFTS = (-1, 0, 1)
_EDGE = 2  # pixels left out at the border, so that a shifted copy still overlaps


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
