"""MTCNN: the cascade of Zhang et al. 2016, as facenet-pytorch runs it.

Its arithmetic is kept down to the rounding, so that boxes equal those of
``facenet_pytorch.MTCNN.detect``. Where it looks odd (boxes a pixel wider than
they are, crops that start a pixel early) it comes from the original MATLAB
code, with which the networks were trained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from curate.core.errors import WithheldError
from curate.core.faces import Detection
from curate.core.protocols import Model, Pixels
from curate.detectors.candidates import Candidates, Floats, concatenate, nms, nms_indices
from curate.detectors.device import choose_device, convolutions_of_any_size
from curate.detectors.mtcnn_networks import (
    CROPS,
    O_SIDE,
    R_SIDE,
    Networks,
    Parameters,
    decide,
    load_networks,
    normalized,
    propose,
    refine,
    resized,
)
from curate.detectors.options import DetectorOptions
from curate.detectors.passes import run_passes
from curate.detectors.profiles import InputScale
from curate.detectors.weights import Weights

MIN_FACE = 20
"""Height of the smallest face looked for, pixels."""
SHRINK = 0.709
"""Step of the pyramid: about half the area."""
WINDOW = 12
"""Side of what the proposal network looks at, pixels."""
PROPOSED, REFINED, CONFIDENCE = 0.6, 0.7, 0.7
"""Minimum scores after each of the three stages."""

Stage = Callable[[Parameters, Tensor], tuple[Tensor, Tensor]]


class Mtcnn:
    """Finds faces with MTCNN.

    Args:
        networks: the three networks, loaded.
        weights: where they came from, for the manifest.
        scale: the input scale; the factor is always 1.
        confidence: minimum score of the last stage, 0..1.
        device: ``cpu`` or ``cuda``.
    """

    name = "mtcnn"

    def __init__(
        self,
        networks: Networks,
        weights: Weights,
        scale: InputScale,
        confidence: float = CONFIDENCE,
        device: str = "cpu",
    ) -> None:
        self._networks = networks
        self._weights = weights
        self._scale = replace(scale, factor=1.0)
        self._confidence = confidence
        self._device = device

    def detect(self, image: Pixels) -> list[Detection]:
        """Detect faces in one upright RGB image, H×W×3 uint8."""
        candidates = run_passes(image, self._scale, self.find)
        return nms(candidates, 0.7).detections(self.name)

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """Detect in several images, which may differ in size; one list each, in order."""
        return [self.detect(image) for image in images]

    def models(self) -> tuple[Model, ...]:
        """The one model that takes part."""
        return (mtcnn_model(self.name, self._weights, self._device),)

    def find(self, pixels: Pixels) -> Candidates:
        """The cascade on one image, at the size given: candidates not clipped to it."""
        with torch.inference_mode(), convolutions_of_any_size():
            image = image_tensor(pixels, self._device)
            found = self._proposals(image)
            if not len(found):
                return found
            net = self._networks
            scores, shifts, found = rescored(image, squared(found), R_SIDE, net.refinement, refine)
            found, shifts = _passing(found, scores, shifts, REFINED)
            kept = nms_indices(found, 0.7)
            found = shifted(found.take(kept), shifts[kept], 1.0)
            scores, shifts, found = rescored(image, squared(found), O_SIDE, net.output, decide)
            found, shifts = _passing(found, scores, shifts, self._confidence)
            return _uncontained(shifted(found, shifts, 1.0), 0.7)

    def _proposals(self, image: Tensor) -> Candidates:
        """The first stage, over a pyramid of sizes."""
        height, width = image.shape[2:]
        found: list[Candidates] = []
        shifts: list[Floats] = []
        factor = WINDOW / MIN_FACE
        while min(height, width) * factor >= WINDOW:
            size = (int(height * factor + 1), int(width * factor + 1))
            heat, maps = propose(self._networks.proposal, normalized(resized(image, *size)))
            candidates = _windows(_array(heat[0]), factor)
            kept = nms_indices(candidates, 0.5)
            found.append(candidates.take(kept))
            rows, columns = np.nonzero(_array(heat[0]) >= PROPOSED)
            shifts.append(_array(maps[0])[:, rows[kept], columns[kept]].T)
            factor *= SHRINK
        if not found:
            return concatenate([])
        joined = concatenate(found)
        kept = nms_indices(joined, 0.7)
        return shifted(joined.take(kept), np.concatenate(shifts)[kept], 0.0)


def _windows(heat: Floats, factor: float) -> Candidates:
    """The windows in which the proposal network sees a face, in pixels of the image."""
    rows, columns = np.nonzero(heat >= PROPOSED)
    corners = np.stack([columns, rows], axis=1).astype(np.float32) * 2
    scale = np.float32(factor)  # the reference divides in float32, and then rounds down
    low = np.floor((corners + np.float32(1)) / scale)
    high = np.floor((corners + np.float32(WINDOW)) / scale)
    boxes = np.concatenate([low, high], axis=1).astype(np.float64)
    return Candidates(boxes, heat[rows, columns])


def rescored(
    image: Tensor, candidates: Candidates, side: int, net: Parameters, stage: Stage
) -> tuple[Floats, Floats, Candidates]:
    """Run the second or third network on the crops under some boxes.

    Args:
        image: 1×3×H×W float32, 0..255.
        candidates: the boxes, N; those outside the image are dropped.
        side: side of the network's input, pixels.
        net: the network's weights.
        stage: the network.

    Returns:
        Scores, M float64; corrections, M×4 float64; and the M candidates they belong to.

    Raises:
        WithheldError: if a score is not a finite number.
    """
    height, width = image.shape[2:]
    corners = candidates.boxes.astype(np.float32).astype(np.int64)
    low = np.maximum(corners[:, :2], 1) - 1
    high = np.minimum(corners[:, 2:], [width, height])
    inside = np.flatnonzero((high > low).all(axis=1))
    scores: list[Tensor] = [image.new_empty(0)]
    shifts: list[Tensor] = [image.new_empty((0, 4))]
    for start in range(0, len(inside), CROPS):
        crops = [
            resized(image[:, :, low[i, 1] : high[i, 1], low[i, 0] : high[i, 0]], side, side)
            for i in inside[start : start + CROPS]
        ]
        score, shift = stage(net, normalized(torch.cat(crops)))
        scores.append(score)
        shifts.append(shift)
    score_array, shift_array = _array(torch.cat(scores)), _array(torch.cat(shifts))
    if not (np.isfinite(score_array).all() and np.isfinite(shift_array).all()):
        raise WithheldError(
            "detector_failed", "the face detector gave values that are not finite numbers"
        )
    return score_array, shift_array, candidates.take(inside)


def squared(candidates: Candidates) -> Candidates:
    """The candidates with their boxes made square about the center, by the longer side."""
    low, high = candidates.boxes[:, :2], candidates.boxes[:, 2:]
    side = (high - low).max(axis=1, keepdims=True)
    low = low + (high - low) / 2 - side / 2
    return Candidates(np.concatenate([low, low + side], axis=1), candidates.scores)


def shifted(candidates: Candidates, shifts: Floats, extra: float) -> Candidates:
    """The candidates with each edge moved by a share of the box's size plus ``extra`` pixels."""
    size = candidates.boxes[:, 2:] - candidates.boxes[:, :2] + extra
    return Candidates(candidates.boxes + shifts * np.tile(size, 2), candidates.scores)


def image_tensor(pixels: Pixels, device: str) -> Tensor:
    """An H×W×3 uint8 image as 1×3×H×W float32 on a device."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
    return tensor[None].to(device).float()


def mtcnn_model(name: str, weights: Weights, device: str) -> Model:
    """MTCNN's entry for the manifest."""
    return Model(
        name=name,
        package=weights.package,
        version=weights.version,
        weights_sha256=weights.sha256,
        backend=f"torch {torch.__version__} on {device}",
    )


def _passing(
    candidates: Candidates, scores: Floats, shifts: Floats, min_score: float
) -> tuple[Candidates, Floats]:
    passed = scores > min_score
    return Candidates(candidates.boxes[passed], scores[passed]), shifts[passed]


def _uncontained(candidates: Candidates, share: float) -> Candidates:
    """Of candidates of which one covers more than a share of the smaller, keep the stronger."""
    order = candidates.order()
    kept: list[int] = []
    size = candidates.boxes[:, 2:] - candidates.boxes[:, :2] + 1
    areas = size.prod(axis=1)
    while len(order):
        first, order = order[0], order[1:]
        kept.append(int(first))
        low = np.maximum(candidates.boxes[first, :2], candidates.boxes[order, :2])
        high = np.minimum(candidates.boxes[first, 2:], candidates.boxes[order, 2:])
        shared = np.maximum(high - low + 1, 0).prod(axis=1)
        order = order[shared <= share * np.minimum(areas[first], areas[order])]
    return candidates.take(np.array(kept, dtype=np.intp))


def _array(tensor: Tensor) -> Floats:
    return tensor.double().cpu().numpy()


def build(options: DetectorOptions) -> Mtcnn:
    """MTCNN as the options ask for it.

    Raises:
        SetupError: if the weights or the device is missing.
    """
    device = choose_device(options.device)
    networks, weights = load_networks(device, options.threads)
    confidence = CONFIDENCE if options.confidence is None else options.confidence
    return Mtcnn(networks, weights, options.scale, confidence, device)
