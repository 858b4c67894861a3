"""Images and regions that the tests of the obfuscators share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.faces import Region
from curate.core.geometry import Box
from curate.obfuscators import masks

SHAPES = [(48, 64), (48, 64, 1), (48, 64, 2), (48, 64, 3), (48, 64, 4)]


def noise(shape: Sequence[int], dtype: npt.DTypeLike = np.uint8, seed: int = 0) -> Any:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)


def pattern(height: int, width: int, channels: int, dtype: npt.DTypeLike) -> Any:
    """Edges, slopes and texture from whole-number arithmetic, equal everywhere for ever."""
    y, x, c = np.ogrid[:height, :width, :channels]
    levels = (x * 3 + y * 2 * (c + 1) + 90 * ((x // 16 + y // 16) % 2) + (x * y) % 7) % 256
    return (levels * (257 if np.dtype(dtype) == np.uint16 else 1)).astype(dtype)


def regions_of(boxes: Sequence[Box], width: int, height: int, margin: float = 0.15) -> list[Region]:
    return [masks.region(box, margin, width, height) for box in boxes]


def inside(regions: Sequence[Region], shape: Sequence[int]) -> npt.NDArray[np.bool_]:
    """H×W, true in any hidden region; written without the code under test."""
    where = np.zeros(shape[:2], dtype=bool)
    for each in regions:
        x0, y0, x1, y1 = (int(value) for value in each.hidden.xyxy)
        where[y0:y1, x0:x1] = True
    return where


def with_other_faces(image: Any, regions: Sequence[Region], seed: int = 1) -> Any:
    """The same picture with every hidden pixel drawn anew."""
    other = image.copy()
    where = inside(regions, image.shape)
    other[where] = noise(image.shape, image.dtype, seed)[where]
    return other
