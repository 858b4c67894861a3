"""Pictures that installed packages ship, for tests without a network."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest

from curate.core.geometry import Box
from curate.core.protocols import Pixels

ASTRONAUT_FACE = Box(173, 66, 272, 195)
"""Drawn by hand around the face of scikit-image's astronaut."""


def packaged(name: str) -> Pixels:
    """A picture of scikit-image, H×W×3 uint8 RGB."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        pytest.skip("scikit-image is not installed")
    image = cv2.imread(str(Path(found.origin).parent / "data" / name), cv2.IMREAD_COLOR)
    assert image is not None
    return np.ascontiguousarray(image[:, :, ::-1], dtype=np.uint8)


def astronaut() -> Pixels:
    """A portrait of 512 × 512 pixels with one face."""
    return packaged("astronaut.png")


def crowd(columns: int, rows: int) -> Pixels:
    """The portrait many times over, at a third of its size."""
    small = cv2.resize(astronaut(), (170, 170), interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(np.tile(small, (rows, columns, 1)), dtype=np.uint8)
