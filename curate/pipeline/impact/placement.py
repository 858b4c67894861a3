"""Where regions of the same sizes could lie that hide no face."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.geometry import Box, intersection

Sums = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Placed:
    """A region that was put elsewhere.

    Args:
        box: where it is now, whole pixels.
        overlaps: whether it meets a hidden region all the same, for want of room.
    """

    box: Box
    overlaps: bool


def place_elsewhere(
    hidden: Sequence[Box], width: int, height: int, random: np.random.Generator
) -> list[Placed]:
    """Give each hidden region another place in the image, drawn evenly from where it fits.

    A place must meet no hidden region and no region that was placed before; where there
    is none, one that meets only the latter as little as can be; where there is none of
    these either, one that meets the hidden regions as little as can be.

    Args:
        hidden: whole-pixel boxes inside the image, not empty.
        width: of the image, pixels.
        height: of the image, pixels.
        random: what places are drawn from.

    Returns:
        One for each hidden region, in order, of the same size.
    """
    faces, taken = (np.zeros((height, width), dtype=bool) for _ in range(2))
    for box in hidden:
        faces[box.slices] = True
    placed: dict[int, Placed] = {}
    # The largest first: once the small ones lie about, there may be no room for it.
    for number in sorted(range(len(hidden)), key=lambda number: (-hidden[number].area, number)):
        size = int(hidden[number].width), int(hidden[number].height)
        met = _met(faces, *size)
        least = met == met.min()
        again = np.where(least, _met(taken, *size), np.iinfo(np.int64).max)
        rows, columns = np.nonzero(again == again.min())
        drawn = int(random.integers(len(rows)))
        x0, y0 = int(columns[drawn]), int(rows[drawn])
        box = Box(x0, y0, x0 + size[0], y0 + size[1])
        taken[box.slices] = True
        placed[number] = Placed(box, any(intersection(box, other) > 0 for other in hidden))
    return [placed[number] for number in range(len(hidden))]


def draws_for(recipe: str, record: str) -> np.random.Generator:
    """What an image's places are drawn from: the recipe's digest and the image's id alone."""
    digest = hashlib.sha256(f"random-region {recipe} {record}".encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, dtype=np.uint32))


def _met(mask: npt.NDArray[np.bool_], width: int, height: int) -> Sums:
    """How much of a mask each place of a ``width`` × ``height`` box meets.

    Returns:
        One number for each place of its upper left corner.
    """
    sums = np.zeros((mask.shape[0] + 1, mask.shape[1] + 1), dtype=np.int64)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1, out=sums[1:, 1:])
    return np.asarray(
        sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width]
        + sums[:-height, :-width]
    )  # fmt: skip
