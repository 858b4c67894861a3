"""Runs a part of an ONNX network in OpenCV's DNN module."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from curate.core.errors import WeightsError
from curate.core.protocols import Pixels
from curate.detectors.onnx_part import cut_part

Maps = npt.NDArray[np.float32]


class OpenCvNet:
    """A part of a network, from some maps to some others; for OpenCV 5.

    OpenCV 5 computes all that a file holds, whatever is asked for, so that the part is
    cut out of the file first.

    Args:
        weights: the whole network's ONNX file.
        sources: names of the maps that it is given.
        outputs: names of the maps that it makes.

    Raises:
        WeightsError: if the file cannot be read.
    """

    def __init__(self, weights: Path, sources: Sequence[str], outputs: Sequence[str]) -> None:
        part = np.frombuffer(cut_part(weights, sources, outputs), dtype=np.uint8)
        try:
            self._net = cv2.dnn.readNetFromONNX(part)
        except cv2.error as error:
            raise WeightsError(f"OpenCV cannot read {weights.name}: {error.err}") from error
        self._sources = tuple(sources)
        self._outputs = tuple(outputs)

    def run(self, *sources: Maps) -> list[Maps]:
        """The outputs for N×C×h×w float32 each, both in the order in which they were named."""
        for name, source in zip(self._sources, sources, strict=True):
            self._net.setInput(source, name)
        # Copies, as the next run may use the same memory.
        return [np.array(made, dtype=np.float32) for made in self._net.forward(self._outputs)]


def blob(images: Pixels) -> Maps:
    """N×H×W×3 uint8 as N×3×H×W float32, as OpenCV's networks take it."""
    return np.asarray(cv2.dnn.blobFromImages(list(images), swapRB=False), dtype=np.float32)
