"""Regions of an image in the input of a classifier, whatever its preprocessing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.errors import UsageError
from curate.core.protocols import Pixels
from curate.impact.experiment import Floats

Prepare = Callable[[Pixels], npt.NDArray[np.float32]]

_GRAY = 102  # two fifths of white
_OVERSHOOT = 0.3  # of a resize by cubic or longer kernels, beside an edge


@dataclass(frozen=True, slots=True, eq=False)
class InputMap:
    """Map from images of one size to the model's input.

    Preprocessing moves pixels (resizing, cropping, padding) and changes their values
    (normalizing). The prepared black and white images separate the second from the first
    without knowing either.

    Args:
        prepare: the preprocessing.
        size: height and width of the images, pixels.
        black: a prepared black image, shape (C, h, w).
        span: a prepared white image minus ``black``; 0 where the image has no effect, as in
            padding.
    """

    prepare: Prepare
    size: tuple[int, int]
    black: npt.NDArray[np.float32]
    span: npt.NDArray[np.float32]

    def map_regions(self, inside: npt.NDArray[np.bool_]) -> Floats:
        """Return the share of each position of the model's input inside regions of the image.

        Args:
            inside: of the upright image, shape (H, W).

        Returns:
            Shape (h, w), 0..1.
        """
        mask = np.repeat(np.where(inside, np.uint8(255), np.uint8(0))[..., None], 3, axis=2)
        return np.asarray(self._undo(self.prepare(mask)).mean(axis=0))

    def show(self, prepared: npt.NDArray[np.float32]) -> Pixels:
        """Return a prepared image as RGB, shape (h, w, 3), uint8."""
        shown = self._undo(prepared).transpose(1, 2, 0)
        if shown.shape[2] != 3:
            shown = np.repeat(shown.mean(axis=2, keepdims=True), 3, axis=2)
        elif self._is_bgr():
            shown = shown[..., ::-1]
        return np.ascontiguousarray((255 * shown + 0.5).astype(np.uint8))

    def _is_bgr(self) -> bool:
        """Whether the channels are in BGR order, by the channel of a red image."""
        red = np.zeros((*self.size, 3), dtype=np.uint8)
        red[..., 0] = 255
        first, _, last = self._divide(self.prepare(red)).sum(axis=(1, 2))
        return bool(last > first)

    def _undo(self, prepared: npt.NDArray[np.float32]) -> Floats:
        return np.clip(self._divide(prepared), 0.0, 1.0)

    def _divide(self, prepared: npt.NDArray[np.float32]) -> Floats:
        scaled = np.zeros(prepared.shape, dtype=np.float64)
        np.divide(prepared - self.black, self.span, out=scaled, where=self.span != 0)
        return scaled

    def is_faithful(self) -> bool:
        """Return whether a gray image is recovered as gray, and a half-white one as such."""
        height, width = self.size
        gray, half = np.full((2, height, width, 3), _GRAY, dtype=np.uint8)
        half[:] = 0
        half[: (height + 1) // 2] = 255
        middle, ends = (self._divide(self.prepare(image)) for image in (gray, half))
        middle = middle[self.span != 0]
        return bool(
            np.abs(middle - _GRAY / 255).max(initial=0.0) < 0.02
            and ends.min() > -_OVERSHOOT
            and ends.max() < 1 + _OVERSHOOT
        )


def map_input(prepare: Prepare, height: int, width: int) -> InputMap:
    """Determine the input map for images of a size.

    Raises:
        UsageError: if the preprocessing is not linear in pixel values, so that regions cannot be
            mapped.
    """
    black, white = (
        prepare(np.full((height, width, 3), value, dtype=np.uint8)) for value in (0, 255)
    )
    if black.shape == white.shape:
        found = InputMap(prepare, (height, width), black, white - black)
        if np.any(found.span) and found.is_faithful():
            return found
    raise UsageError(
        "the model's preprocessing is not linear in pixel values, so that faces cannot be mapped "
        "to "
        "its input; give a model whose images are resized, cropped and normalized"
    )
