"""CenterFace in OpenCV 5, large inputs in strips."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from curate.core.ports import Pixels
from curate.detectors.backends import INPUT, OUTPUTS, Heads, heads
from curate.detectors.opencv_net import Maps, OpenCvNet, blob

EARLY, CELL = "387", 4
"""A map at a quarter of the input's size; what comes before it takes two thirds of the memory."""
LARGE = 400_000
"""Pixels of an input beyond which it is looked at in strips."""
STRIP = 200_000
"""Pixels of a strip, about."""
BEYOND = 16
"""Rows of the input, above and below a strip, on which its rows of the early map depend."""


class OpenCvNetwork:
    """CenterFace in OpenCV's DNN module.

    Of large inputs the wide early maps are computed in strips of rows, which bounds
    the memory; the numbers are the same to the bit.

    Args:
        weights: the checked ONNX file.
    """

    batches = False

    def __init__(self, weights: Path) -> None:
        self.backend = f"opencv {cv2.__version__}"
        self._whole = OpenCvNet(weights, INPUT, OUTPUTS)
        self._early = OpenCvNet(weights, INPUT, [EARLY])
        self._late = OpenCvNet(weights, EARLY, OUTPUTS)

    def run(self, images: Pixels) -> Heads:
        """Run on N×H×W×3 uint8; see `Network.run`."""
        if images[..., 0].size <= LARGE:
            return heads(*self._whole.run(blob(images)))
        return heads(*self._late.run(self._strips(images)))

    def _strips(self, images: Pixels) -> Maps:
        """The early map, strip by strip."""
        count, height, width = images.shape[:3]
        rows = max(STRIP // (count * width), 2 * BEYOND) // CELL * CELL
        early = []
        for start in range(0, height, rows):
            first, stop = max(start - BEYOND, 0), min(start + rows, height)
            (seen,) = self._early.run(blob(images[:, first : stop + BEYOND]))
            early.append(seen[:, :, (start - first) // CELL : (stop - first) // CELL])
        return np.concatenate(early, axis=2)
