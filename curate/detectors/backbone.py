"""CenterFace's backbone, which the verifier reads its features from."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Protocol

import cv2

from curate.core.protocols import Pixels
from curate.detectors.backends import INPUT, opencv_major
from curate.detectors.opencv_net import Maps, OpenCvNet, blob

MAPS = ("394", "420", "455", "481", "507")
"""The backbone's maps at strides 8, 16, 16, 32 and 32, by their names in the graph."""


class Backbone(Protocol):
    """CenterFace's MobileNetV2, loaded and ready."""

    def maps(self, squares: Pixels) -> list[Maps]:
        """The maps named in `MAPS`, each N×C×h×w float32, of N×H×W×3 uint8."""
        ...


class OpenCvBackbone:
    """The backbone in OpenCV 5.

    Args:
        weights: the checked ONNX file.
        threads: processor threads that OpenCV may use.
    """

    def __init__(self, weights: Path, threads: int) -> None:
        cv2.setNumThreads(threads)
        self._net = OpenCvNet(weights, [INPUT], MAPS)

    def maps(self, squares: Pixels) -> list[Maps]:
        """See `Backbone.maps`."""
        return self._net.run(blob(squares))


def load_backbone(weights: Path, threads: int) -> Backbone:
    """The backbone in OpenCV 5, or in torch where OpenCV is older.

    Args:
        weights: the checked ONNX file.
        threads: processor threads that the library may use.

    Raises:
        WeightsError: if the file cannot be read.
    """
    if opencv_major() >= 5:
        return OpenCvBackbone(weights, threads)
    from curate.detectors.backbone_torch import TorchBackbone

    return TorchBackbone(weights, threads)


def backbone_library() -> str:
    """The library that `load_backbone` uses, with its version."""
    if opencv_major() >= 5:
        return f"opencv {cv2.__version__}"
    return f"torch {importlib.metadata.version('torch')}"
