"""YuNet, from an ONNX file that the user brings.

Wu, Peng & Yu, *YuNet: A Tiny Millisecond-level Face Detector*, Machine Intelligence
Research 2023; the file is ``face_detection_yunet_2023mar.onnx`` of OpenCV's model zoo.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from curate.core.errors import UsageError, WeightsError, WithheldError
from curate.core.protocols import Model, Pixels
from curate.detectors.candidates import Candidates, empty
from curate.detectors.device import refuse_cuda
from curate.detectors.options import DetectorOptions
from curate.detectors.passes import PassDetector
from curate.detectors.profiles import InputScale
from curate.detectors.weights import Weights, weights_of_file

CONFIDENCE = 0.5
"""Default minimum score."""
NMS_IOU = 0.3
TOP_K = 5000
"""Candidates kept before suppression."""


class YuNet(PassDetector):
    """Finds faces with YuNet in OpenCV.

    Args:
        weights: the ONNX file.
        scale: the input scale; the factor is always 1.
        confidence: minimum score, 0..1.
        threads: processor threads that OpenCV may use.

    Raises:
        WeightsError: if OpenCV cannot read the file as YuNet.
    """

    name = "yunet"
    nms_iou = NMS_IOU

    def __init__(
        self, weights: Weights, scale: InputScale, confidence: float = CONFIDENCE, threads: int = 1
    ) -> None:
        cv2.setNumThreads(threads)
        self._weights = weights
        self._scale = replace(scale, factor=1.0)
        (path,) = weights.paths.values()
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(path), "", (320, 320), confidence, NMS_IOU, TOP_K
            )
            self._net.detect(np.zeros((320, 320, 3), dtype=np.uint8))
        except cv2.error as error:
            raise WeightsError(
                f"OpenCV cannot use {path.name} as YuNet: {error.err}; give the file "
                "face_detection_yunet_2023mar.onnx of OpenCV's model zoo"
            ) from error

    def models(self) -> tuple[Model, ...]:
        """The one model that takes part."""
        weights = self._weights
        backend = f"opencv {cv2.__version__}"
        return (Model(self.name, weights.package, weights.version, weights.sha256, backend),)

    def find(self, pixels: Pixels) -> Candidates:
        """Faces in one image at the size given: candidates not clipped to it.

        Raises:
            WithheldError: if the network's output is not finite.
        """
        height, width = pixels.shape[:2]
        self._net.setInputSize((width, height))
        _, found = self._net.detect(np.ascontiguousarray(pixels[:, :, ::-1]))
        if found is None:
            return empty()
        rows = np.asarray(found, dtype=np.float64)
        if not np.isfinite(rows).all():
            raise WithheldError("detector_failed", "YuNet gave values that are not finite numbers")
        corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
        return Candidates(corners, np.clip(rows[:, 14], 0.0, 1.0))


def build(options: DetectorOptions) -> YuNet:
    """YuNet as the options ask for it.

    Raises:
        UsageError: if no file is given, or it is to run on CUDA.
        WeightsError: if the file cannot be read or used.
    """
    refuse_cuda("yunet", options.device)
    if options.weights is None:
        raise UsageError("the detector 'yunet' needs its ONNX file; give --detector yunet:PATH")
    confidence = CONFIDENCE if options.confidence is None else options.confidence
    weights = weights_of_file(options.weights)
    return YuNet(weights, options.scale, confidence, options.threads)
