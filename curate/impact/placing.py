"""Regions as large as faces, somewhere else: what a share of attribution is held against.

The chance of a place to be looked at is not the same all over an image, if only because
people put what they photograph in the middle. Equal regions elsewhere in the same image say
more than their area does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

_TRIES = 100

Coverage = npt.NDArray[np.float64]
"""How much of each place lies inside a region, H×W, 0..1."""


def place_elsewhere(coverage: Coverage, random: np.random.Generator, number: int) -> list[Coverage]:
    """Move an image's faces to random places where there is none.

    Each connected region keeps its shape and stays whole inside the image.

    Args:
        coverage: of the faces.
        random: draws the places.
        number: how many times.

    Returns:
        As many coverages, or none at all where a region finds no free place.
    """
    labels, count = ndimage.label(coverage > 0)
    pieces = [
        np.where(labels[where] == label, coverage[where], 0.0)
        for label, where in enumerate(ndimage.find_objects(labels), start=1)
    ]
    pieces.sort(key=lambda piece: -piece.size)  # large ones first, while there is room
    moved = (_place(pieces, coverage, random) for _ in range(number if count else 0))
    found = [each for each in moved if each is not None]
    return found if len(found) == number else []


def _place(
    pieces: list[Coverage], coverage: Coverage, random: np.random.Generator
) -> Coverage | None:
    taken, result = coverage > 0, np.zeros_like(coverage)
    for piece in pieces:
        height, width = piece.shape
        for _ in range(_TRIES):
            y = int(random.integers(0, coverage.shape[0] - height + 1))
            x = int(random.integers(0, coverage.shape[1] - width + 1))
            where = slice(y, y + height), slice(x, x + width)
            if not (taken[where] & (piece > 0)).any():
                result[where] += piece
                taken[where] |= piece > 0
                break
        else:
            return None
    return result
