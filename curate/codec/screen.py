"""An image as a browser can show it: an upright JPEG of bounded size."""

from __future__ import annotations

import numpy as np

from curate.core.errors import WithheldError
from curate.core.protocols import Pixels

_LONGEST = 65_535  # pixels of a side that JPEG can hold


def shrink(image: Pixels, side: int) -> Pixels:
    """An image whose longer side is at most ``side`` pixels, H×W×3 uint8."""
    import cv2

    height, width = image.shape[:2]
    longest = max(height, width)
    if longest <= side:
        return image
    size = (max(1, round(width * side / longest)), max(1, round(height * side / longest)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def encode_for_screen(image: Pixels, quality: int = 92) -> bytes:
    """An RGB image, H×W×3 uint8, as JPEG without subsampling.

    Raises:
        WithheldError: if it is too large for the format.
    """
    import simplejpeg  # type: ignore[import-untyped]

    if max(image.shape[:2]) > _LONGEST:
        raise WithheldError("unsupported", "the image is too large to be shown in a browser")
    data: bytes = simplejpeg.encode_jpeg(
        np.ascontiguousarray(image), quality=quality, colorspace="RGB", colorsubsampling="444"
    )
    return data
