"""CenterFace in OpenCV 5, large inputs in strips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curate.core.protocols import Pixels
from curate.detectors.backends import INPUT, OUTPUTS, Heads, heads
from curate.detectors.opencv_net import Maps, OpenCvNet, blob

EARLY, MIDDLE, JOINED = "387", "413", "525"
"""Maps at a quarter, an eighth and an eighth of the input's size; the last one joins all scales."""
STRIP = 200_000
"""Pixels of a strip, about; OpenCV takes some 0.6 kB for each. Larger inputs are run in strips."""


@dataclass(frozen=True, slots=True)
class Strips:
    """How a part of the network is run in strips of rows.

    Args:
        unit: pixels of the input that a strip's height is a multiple of.
        beyond: units above and below a strip on which its rows depend, at least.
        read: rows of each map that the part is given, in a unit.
        made: rows of each map that it makes, in a unit.
    """

    unit: int
    beyond: int
    read: tuple[int, ...]
    made: int


class OpenCvNetwork:
    """CenterFace in OpenCV's DNN module.

    Of large inputs the wide maps are computed in strips of rows, which bounds the
    memory; the numbers are the same to the bit.

    Args:
        weights: the checked ONNX file.
    """

    batches = False

    def __init__(self, weights: Path) -> None:
        self.backend = f"opencv {cv2.__version__}"
        self._weights = weights
        self._whole = OpenCvNet(weights, [INPUT], OUTPUTS)
        self._parts: Parts | None = None

    def run(self, images: Pixels) -> Heads:
        """Run on N×H×W×3 uint8; see `Network.run`."""
        if images[..., 0].size <= STRIP:
            return heads(*self._whole.run(blob(images)))
        if self._parts is None:  # loading them takes longer than a photo, and many runs need none
            self._parts = Parts(self._weights)
        return self._parts.run(images)


class Parts:
    """CenterFace in four parts, all but one of which are run in strips.

    Args:
        weights: the checked ONNX file.
    """

    def __init__(self, weights: Path) -> None:
        self._early = OpenCvNet(weights, [INPUT], [EARLY])
        self._middle = OpenCvNet(weights, [EARLY], [MIDDLE])
        self._deep = OpenCvNet(weights, [MIDDLE], [JOINED])
        self._late = OpenCvNet(weights, [EARLY, JOINED], OUTPUTS)

    def run(self, images: Pixels) -> Heads:
        """Run on N×H×W×3 uint8; see `Network.run`."""
        pixels = images.transpose(0, 3, 1, 2)
        width = images.shape[0] * images.shape[2]
        (early,) = in_strips(self._early, [pixels], width, Strips(4, 4, (4,), 1))
        (middle,) = in_strips(self._middle, [early], width, Strips(8, 4, (2,), 1))
        (joined,) = self._deep.run(middle)
        return heads(*in_strips(self._late, [early, joined], width, Strips(8, 1, (2, 1), 2)))


def in_strips(
    net: OpenCvNet, sources: Sequence[npt.NDArray[Any]], width: int, strips: Strips
) -> list[Maps]:
    """What a part of the network makes, strip by strip.

    Args:
        net: the part.
        sources: what it is given, each N×C×h×w.
        width: width of the input, pixels, of all images of a batch together.
        strips: how it is run.
    """
    units = sources[0].shape[2] // strips.read[0]
    step = max(STRIP // (width * strips.unit), strips.beyond)
    made = []
    for start in range(0, units, step):
        first, stop = max(start - strips.beyond, 0), min(start + step, units)
        parts = [
            np.ascontiguousarray(
                source[:, :, first * rows : (stop + strips.beyond) * rows], dtype=np.float32
            )
            for source, rows in zip(sources, strips.read, strict=True)
        ]
        kept = slice((start - first) * strips.made, (stop - first) * strips.made)
        made.append([result[:, :, kept] for result in net.run(*parts)])
    return [np.concatenate(results, axis=2) for results in zip(*made, strict=True)]
