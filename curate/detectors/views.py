"""What a network is shown of an image: crops, sizes and mirror images, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from curate.core.errors import DataError
from curate.core.protocols import Pixels
from curate.detectors.claims import Claims

STRIDE = 32
"""The networks' sides are multiples of this many pixels."""


@dataclass(frozen=True, slots=True)
class View:
    """A rectangle of an image, at the size at which a network is to see it.

    Args:
        x0: left edge of the rectangle, pixels of the image.
        y0: top edge.
        x1: right edge, exclusive.
        y1: bottom edge, exclusive.
        width: width after resizing, pixels.
        height: height after resizing, pixels.
        mirrored: whether left and right are exchanged.
    """

    x0: int
    y0: int
    x1: int
    y1: int
    width: int
    height: int
    mirrored: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the network's input: the size rounded up to the stride."""
        return _round_up(self.height), _round_up(self.width)


def check_pixels(image: Pixels) -> None:
    """Refuse anything but an H×W×3 uint8 array with at least one pixel.

    Raises:
        DataError: if the array is anything else.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise DataError(
            "a detector needs an RGB image, H×W×3 uint8 with at least one pixel; "
            f"this array is {image.dtype} of shape {image.shape}"
        )


def shown(image: Pixels, view: View) -> Pixels:
    """The pixels of a view: ``view.height`` × ``view.width`` × 3 uint8.

    Args:
        image: H×W×3 uint8, left unchanged.
        view: the part to show; where nothing is to be done, a window on ``image``.
    """
    part = image[view.y0 : view.y1, view.x0 : view.x1]
    if part.shape[:2] != (view.height, view.width):
        smaller = view.width < part.shape[1]
        how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
        resized = cv2.resize(part, (view.width, view.height), interpolation=how)
        part = resized.astype(np.uint8, copy=False)
    return part[:, ::-1] if view.mirrored else part


def padded(pixels: Pixels, shape: tuple[int, int] | None = None) -> Pixels:
    """A copy with black at the right and the bottom, so that the sides are whole strides.

    Args:
        pixels: H×W×3 uint8.
        shape: rows and columns of the result, multiples of the stride; by default
            the least that are enough.
    """
    height, width = pixels.shape[:2]
    shape = shape or (_round_up(height), _round_up(width))
    canvas = np.zeros((*shape, 3), dtype=np.uint8)
    canvas[:height, :width] = pixels
    return canvas


def back(claims: Claims, view: View) -> Claims:
    """Claims about a view, in the pixels of the image that it shows."""
    boxes = claims.boxes.copy()
    if view.mirrored:
        boxes[:, 0::2] = view.width - boxes[:, 2::-2]
    boxes[:, 0::2] = boxes[:, 0::2] * ((view.x1 - view.x0) / view.width) + view.x0
    boxes[:, 1::2] = boxes[:, 1::2] * ((view.y1 - view.y0) / view.height) + view.y0
    return Claims(boxes, claims.scores)


def _round_up(side: int) -> int:
    return -(-side // STRIDE) * STRIDE
