"""Follow regions of an image through a classifier's preparation, whatever that is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from curate.core.errors import UsageError
from curate.core.protocols import Pixels
from curate.impact.arrays import Floats

Prepare = Callable[[Pixels], npt.NDArray[np.float32]]

_MIDDLE = 102  # two fifths of white
_OVERSHOOT = 0.3  # of a resize by cubic or longer kernels, beside an edge


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How a preparation shows images of one size.

    A preparation moves pixels (resizing, cropping, padding) and changes their values
    (normalising). What it makes of a black and of a white image tells the second apart from
    the first, without knowing either.

    Args:
        prepare: the preparation.
        size: height and width of the images, pixels.
        black: a black image prepared, C×h×w.
        span: a white one less that; 0 where nothing of the image is shown, as in padding.
    """

    prepare: Prepare
    size: tuple[int, int]
    black: npt.NDArray[np.float32]
    span: npt.NDArray[np.float32]

    def map_regions(self, inside: npt.NDArray[np.bool_]) -> Floats:
        """How much of each place of the model's input lies inside regions of the image.

        Args:
            inside: of the upright image, H×W.

        Returns:
            h×w, 0..1.
        """
        mask = np.repeat(np.where(inside, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)
        return np.asarray(self._undo(self.prepare(mask)).mean(axis=0))

    def show(self, prepared: npt.NDArray[np.float32]) -> Pixels:
        """A prepared image as a picture again: RGB, h×w×3 uint8."""
        shown = self._undo(prepared).transpose(1, 2, 0)
        if shown.shape[2] != 3:
            shown = np.repeat(shown.mean(axis=2, keepdims=True), 3, axis=2)
        elif self._is_turned():
            shown = shown[..., ::-1]
        return np.ascontiguousarray((255 * shown + 0.5).astype(np.uint8))

    def _is_turned(self) -> bool:
        """Whether the channels are blue, green and red: where a red image has its red."""
        red = np.zeros((*self.size, 3), dtype=np.uint8)
        red[..., 0] = 255
        first, _, last = self._divide(self.prepare(red)).sum(axis=(1, 2))
        return bool(last > first)

    def _undo(self, prepared: npt.NDArray[np.float32]) -> Floats:
        return np.clip(self._divide(prepared), 0.0, 1.0)

    def _divide(self, prepared: npt.NDArray[np.float32]) -> Floats:
        away = np.zeros(prepared.shape, dtype=np.float64)
        np.divide(prepared - self.black, self.span, out=away, where=self.span != 0)
        return away

    def is_faithful(self) -> bool:
        """Whether a grey image comes back as grey, and a half white one as black and white."""
        height, width = self.size
        grey, half = np.full((2, height, width, 3), _MIDDLE, dtype=np.uint8)
        half[:] = 0
        half[: (height + 1) // 2] = 255
        middle, ends = (self._divide(self.prepare(image)) for image in (grey, half))
        middle = middle[self.span != 0]
        return bool(
            np.abs(middle - _MIDDLE / 255).max(initial=0.0) < 0.02
            and ends.min() > -_OVERSHOOT
            and ends.max() < 1 + _OVERSHOOT
        )


def look_through(prepare: Prepare, height: int, width: int) -> View:
    """Find out how a preparation shows images of a size.

    Raises:
        UsageError: if it does not change values in proportion, so that regions cannot be
            followed through it.
    """
    black, white = (
        prepare(np.full((height, width, 3), value, dtype=np.uint8)) for value in (0, 255)
    )
    if black.shape == white.shape:
        view = View(prepare, (height, width), black, white - black)
        if np.any(view.span) and view.is_faithful():
            return view
    raise UsageError(
        "the model's preparation does not change pixel values in proportion, so that faces cannot "
        "be followed through it; give a model whose images are resized, cropped and normalised"
    )


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
