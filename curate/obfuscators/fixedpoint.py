"""Fixed-point pixels in float32: units of 1/256 level (8 bit) or one level (16 bit).

Integers up to 2¹⁶ filtered with weights that are multiples of 2⁻⁸ need at most 24 bits,
so float32 represents every intermediate sum exactly. Results therefore do not depend on
the order of additions: not on the machine, the vector unit or the number of threads.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curate.core.errors import WithheldError
from curate.core.protocols import Frame

Fixed = npt.NDArray[np.float32]
"""H×W or H×W×C, integers 0..65535."""

_SCALES: dict[Any, float] = {np.dtype(np.uint8): 256.0, np.dtype(np.uint16): 1.0}
_MID_GRAYS: dict[Any, int] = {np.dtype(np.uint8): 128, np.dtype(np.uint16): 32768}


def check_frame(image: Frame) -> None:
    """Check that an image can be obfuscated.

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
    """Return the middle of the range: 128 or 32768."""
    return _MID_GRAYS[np.dtype(dtype)]


def planes(image: Frame) -> Frame:
    """Return a view without a channel axis of length 1, as OpenCV does."""
    return image[..., 0] if image.ndim == 3 and image.shape[2] == 1 else image


def to_fixed(image: Frame) -> Fixed:
    """Convert uint8 or uint16 pixels to fixed point."""
    return np.multiply(image, np.float32(_SCALES[image.dtype]), dtype=np.float32)


def from_fixed(fixed: Fixed, dtype: npt.DTypeLike) -> Frame:
    """Convert fixed point to uint8 or uint16, rounding halves up."""
    if np.dtype(dtype) == np.uint8:
        # 1/1024 is less than half a step: it avoids ties, which machines round
        # differently.
        rounded: Frame = cv2.convertScaleAbs(fixed, alpha=1 / 256, beta=1 / 1024)
        return rounded.reshape(fixed.shape)
    return fixed.astype(np.uint16)


def halve(fixed: Fixed) -> Fixed:
    """Downsample by 2 with the binomial kernel (``cv2.pyrDown``); exact, not rounded."""
    return cv2.pyrDown(fixed)  # type: ignore[return-value]


def double(fixed: Fixed, width: int, height: int) -> Fixed:
    """Upsample by 2 with the binomial kernel (``cv2.pyrUp``), rounded to integers."""
    doubled: Fixed = cv2.pyrUp(fixed, dstsize=(width, height))  # type: ignore[assignment]
    return np.rint(doubled, out=doubled)
