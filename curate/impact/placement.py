"""Random placement of regions away from faces, for control arms and for attribution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from curate.core.geometry import Box, intersection
from curate.impact.experiment import Bools, Floats, Ints

_ATTEMPTS = 100  # of a random position for one shape


@dataclass(frozen=True, slots=True)
class Placed:
    """A region at its new position.

    Args:
        box: whole pixels.
        overlaps: whether it overlaps a hidden region for lack of space.
    """

    box: Box
    overlaps: bool


def place_boxes(
    hidden: Sequence[Box], width: int, height: int, random: np.random.Generator
) -> list[Placed]:
    """Move hidden boxes to positions drawn uniformly from those where they fit.

    A position must overlap no hidden box and no box placed before; where there is none, it
    overlaps only the latter and as little as possible; where there is none of these either, it
    overlaps the hidden boxes as little as possible.

    Args:
        hidden: whole-pixel boxes inside the image, not empty.
        width: of the image, pixels.
        height: of the image, pixels.
        random: source of positions.

    Returns:
        One for each hidden box, in order, of the same size.
    """
    faces, taken = (np.zeros((height, width), dtype=bool) for _ in range(2))
    for box in hidden:
        faces[box.slices] = True
    placed: dict[int, Placed] = {}
    # Largest first: once the small ones are placed, there may be no space for it.
    for number in sorted(range(len(hidden)), key=lambda number: (-hidden[number].area, number)):
        size = int(hidden[number].width), int(hidden[number].height)
        overlap = _overlaps(faces, *size)
        allowed = overlap == overlap.min()
        second = np.where(allowed, _overlaps(taken, *size), np.iinfo(np.int64).max)
        rows, columns = np.nonzero(second == second.min())
        drawn = int(random.integers(len(rows)))
        x0, y0 = int(columns[drawn]), int(rows[drawn])
        box = Box(x0, y0, x0 + size[0], y0 + size[1])
        taken[box.slices] = True
        placed[number] = Placed(box, any(intersection(box, other) > 0 for other in hidden))
    return [placed[number] for number in range(len(hidden))]


def _overlaps(mask: Bools, width: int, height: int) -> Ints:
    """Area of a mask inside a box at each position of its upper left corner (integral image)."""
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    return np.asarray(
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
        + sums[:-height, :-width]
    )  # fmt: skip


def place_shapes(coverage: Floats, random: np.random.Generator, number: int) -> list[Floats]:
    """Move the connected regions of an image to random positions without faces.

    Each region keeps its shape and stays inside the image.

    Args:
        coverage: share of each position inside a face, shape (H, W), 0..1.
        random: source of positions.
        number: number of placements.

    Returns:
        As many coverages; empty where a region finds no free position.
    """
    labels, count = ndimage.label(coverage > 0)
    pieces = [
        np.where(labels[where] == label, coverage[where], 0.0)
        for label, where in enumerate(ndimage.find_objects(labels), start=1)
    ]
    pieces.sort(key=lambda piece: -piece.size)  # largest first, while there is space
    moved = (_place_once(pieces, coverage, random) for _ in range(number if count else 0))
    found = [each for each in moved if each is not None]
    return found if len(found) == number else []


def _place_once(
    pieces: list[Floats], coverage: Floats, random: np.random.Generator
) -> npt.NDArray[np.float64] | None:
    taken, result = coverage > 0, np.zeros_like(coverage)
    for piece in pieces:
        height, width = piece.shape
        for _ in range(_ATTEMPTS):
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
