"""Pixels as whole numbers of 1/256 level (8 bit) or of one level (16 bit), in float32.

Whole numbers up to 2¹⁶, filtered with weights that are multiples of 2⁻⁸, need at
most 24 bits: float32 holds every intermediate sum exactly, so that a result does not
depend on the order of the additions, and with it on the machine, the vector unit or
the number of threads.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curate.core.errors import WithheldError
from curate.core.protocols import Frame

Fixed = npt.NDArray[np.float32]
"""H×W or H×W×C, whole numbers 0..65535."""

_SCALES: dict[Any, float] = {np.dtype(np.uint8): 256.0, np.dtype(np.uint16): 1.0}
_MID_GRAYS: dict[Any, int] = {np.dtype(np.uint8): 128, np.dtype(np.uint16): 32768}


def check_frame(image: Frame) -> None:
    """Refuse what is not an image that can be obfuscated.

    Raises:
        WithheldError: unless it is H×W or H×W×C with 1–4 channels, uint8 or uint16.
    """
    channels = image.shape[2] if image.ndim == 3 else 1
    if image.ndim not in (2, 3) or 0 in image.shape or channels > 4 or image.dtype not in _SCALES:
        raise WithheldError(
            "unsupported",
            f"pixels of shape {image.shape} and type {image.dtype}; "
            "give H×W or H×W×C with 1 to 4 channels, uint8 or uint16",
        )


def mid_gray(dtype: npt.DTypeLike) -> int:
    """The level in the middle of the range: 128 or 32768."""
    return _MID_GRAYS[np.dtype(dtype)]


def planes(image: Frame) -> Frame:
    """A view without the channel axis where it has length 1, as OpenCV returns it."""
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image


def to_fixed(image: Frame) -> Fixed:
    """Convert uint8 or uint16 pixels to whole numbers in float32."""
    return np.multiply(image, np.float32(_SCALES[image.dtype]), dtype=np.float32)


def from_fixed(fixed: Fixed, dtype: npt.DTypeLike) -> Frame:
    """Convert back, rounding halves up."""
    if np.dtype(dtype) == np.uint8:
        # 1/1024 is less than half a step: it turns ties, which machines round
        # differently, into plain cases.
        eighth: Frame = cv2.convertScaleAbs(fixed, alpha=1 / 256, beta=1 / 1024)
        return eighth.reshape(fixed.shape)
    return fixed.astype(np.uint16)


def halve(fixed: Fixed) -> Fixed:
    """Binomial low-pass and every other sample, exact but not rounded (``cv2.pyrDown``)."""
    return cv2.pyrDown(fixed)  # type: ignore[return-value]


def double(fixed: Fixed, width: int, height: int) -> Fixed:
    """Interpolate to twice the size with the binomial kernel, rounded to whole numbers."""
    doubled: Fixed = cv2.pyrUp(fixed, dstsize=(width, height))  # type: ignore[assignment]
    return np.rint(doubled, out=doubled)
