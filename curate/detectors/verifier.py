"""Tells a person's face from an animal's, where a face detector is in doubt.

CenterFace's own backbone, looking again at a square around each claim, knows the
difference; its heads were not trained to say it. A linear head on its pooled
features does, and costs a fraction of a pass over the photo.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curate.core.errors import WeightsError, WithheldError
from curate.core.geometry import Box, clip
from curate.core.protocols import Model, Pixels
from curate.detectors.backbone import Backbone, backbone_library, load_backbone
from curate.detectors.centerface import WEIGHTS
from curate.detectors.opencv_net import Maps
from curate.detectors.views import check_pixels
from curate.detectors.weights import Weights, file_sha256, find_weights

Scores = npt.NDArray[np.float32]
Features = npt.NDArray[np.float32]

VETO_BELOW = 0.5
"""Claims with a lower score are an animal's or a thing's, not a person's."""
MIN_SIDE = 16
"""Boxes with no side this long, in pixels, show too little to be judged: they score 1."""

HEAD = "verifier_head.npz"
HEAD_SHA256 = "5cdc9861264bf49b2489dd22f9195557eca337aecc76b54e1aea753519ca1fe3"
VIEWS = ((2.0, False), (3.0, True))
"""Squares looked at: their side in multiples of the box's longer side, and whether mirrored.

The second is the mirror image so that the two err less often together.
"""
SIDE = 96
"""Pixels to which every square is resized."""
CENTRE_SIGMA = 0.18
"""Width of the pooling window around the face, as a share of the square's side."""
BATCH = 16


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A logistic regression on the pooled features.

    Args:
        weight: one float32 per feature.
        bias: the intercept.
        provenance: how it was trained: data, seed, script.
    """

    weight: Features
    bias: float
    provenance: Mapping[str, Any]


class Verifier:
    """Scores claims: how much like a person's face, from 0 to 1.

    Args:
        threads: processor threads that the network may use.
    """

    name = "verifier"

    def __init__(self, threads: int = 1) -> None:
        self._threads = threads
        self._weights: Weights | None = None
        self._backbone: Backbone | None = None
        self._head: Head | None = None

    def person_scores(self, image: Pixels, boxes: Sequence[Box]) -> Scores:
        """How much each box looks like a person's face.

        Args:
            image: H×W×3 uint8, RGB, upright.
            boxes: claimed faces, in the image's pixels.

        Returns:
            N float32, 0..1; 1 where a box is too small to be judged.

        Raises:
            DataError: if the array is not such an image.
            WeightsError: if weights are missing or altered.
            WithheldError: if a score is not a finite number.
        """
        check_pixels(image)
        scores = np.ones(len(boxes), dtype=np.float32)
        judged = [i for i, box in enumerate(boxes) if max(box.width, box.height) >= MIN_SIDE]
        if judged:
            backbone, head = self._loaded()
            features = pooled_features(backbone, image, [boxes[i] for i in judged])
            scores[judged] = probabilities(features, head)
        return scores

    def models(self) -> tuple[Model, ...]:
        """The backbone with its head, for the manifest.

        Raises:
            WeightsError: if weights are missing or altered.
        """
        weights = self._checked()
        digests = {**weights.sha256, HEAD: HEAD_SHA256}
        backend = backbone_library()
        return (Model(self.name, weights.package, weights.version, digests, backend),)

    def _loaded(self) -> tuple[Backbone, Head]:
        if self._backbone is None or self._head is None:
            path = self._checked().paths["centerface.onnx"]
            self._head = load_head()
            self._backbone = load_backbone(path, self._threads)
        return self._backbone, self._head

    def _checked(self) -> Weights:
        if self._weights is None:
            self._weights = find_weights(WEIGHTS)
        return self._weights


def pooled_features(backbone: Backbone, image: Pixels, boxes: Sequence[Box]) -> Features:
    """Pooled features of the squares around boxes, N×D float32."""
    rows = []
    for start in range(0, len(boxes), BATCH):
        part = boxes[start : start + BATCH]
        views = []
        for context, mirrored in VIEWS:
            squares = np.stack([square(image, box, context) for box in part])
            maps = backbone.maps(squares[:, :, ::-1] if mirrored else squares)
            views += [pool for each in maps for pool in _pools(each)]
        rows.append(np.concatenate(views, axis=1))
    return np.concatenate(rows)


def probabilities(features: Features, head: Head) -> Scores:
    """The head's logistic regression on N×D features, N float32 in 0..1.

    Raises:
        WithheldError: if a score is not a finite number.
    """
    logits = features.astype(np.float64) @ head.weight.astype(np.float64) + head.bias
    if not np.isfinite(logits).all():
        raise WithheldError("detector_failed", "the verifier gave scores that are not numbers")
    return (1 / (1 + np.exp(-np.clip(logits, -60, 60)))).astype(np.float32)


def square(image: Pixels, box: Box, context: float) -> Pixels:
    """The square around a box, ``context`` times its longer side, resized to ``SIDE``.

    Beyond the image's border its outermost pixels are repeated.

    Returns:
        ``SIDE`` × ``SIDE`` × 3 uint8.
    """
    height, width = image.shape[:2]
    box = clip(box, width, height)
    side = max(box.width, box.height, 1.0) * context
    source_x, target_x = _span((box.x0 + box.x1) / 2, side, width)
    source_y, target_y = _span((box.y0 + box.y1) / 2, side, height)
    part = image[source_y, source_x]
    size = (target_x.stop - target_x.start, target_y.stop - target_y.start)
    how = cv2.INTER_AREA if size[0] < part.shape[1] else cv2.INTER_LINEAR
    # Resizing before padding bounds the memory by the image's, whatever the box.
    small = cv2.resize(part, size, interpolation=how)
    beyond = (target_y.start, SIDE - target_y.stop, target_x.start, SIDE - target_x.stop)
    return np.asarray(cv2.copyMakeBorder(small, *beyond, cv2.BORDER_REPLICATE), dtype=np.uint8)


def _span(centre: float, side: float, size: int) -> tuple[slice, slice]:
    """Where one axis of a square lies in the image, and where that comes to lie in the result."""
    start = centre - side / 2
    first = min(max(round(start), 0), size - 1)
    last = max(min(round(start + side), size), first + 1)
    begin = min(max(round((first - start) * SIDE / side), 0), SIDE - 1)
    end = max(min(round((last - start) * SIDE / side), SIDE), begin + 1)
    return slice(first, last), slice(begin, end)


def load_head() -> Head:
    """Read the head that lies beside this module.

    Raises:
        WeightsError: if it is missing, altered, or does not fit.
    """
    remedy = "reinstall it: pip install --force-reinstall curate-dataset"
    path = Path(__file__).with_name(HEAD)
    digest = file_sha256(path, remedy)
    if digest != HEAD_SHA256:
        raise WeightsError(
            f"{HEAD} is not the expected file (sha256 {digest}, expected {HEAD_SHA256}); {remedy}"
        )
    with np.load(path, allow_pickle=False) as arrays:
        provenance = json.loads(bytes(arrays["provenance"]).decode())
        return Head(arrays["weight"], float(arrays["bias"]), provenance)


def _pools(values: Maps) -> tuple[Features, Features]:
    """Means of an N×C×h×w map around its centre and over the whole, each N×C."""
    side = values.shape[-1]
    place = (np.arange(side) + 0.5) / side - 0.5
    window = np.exp(-(place**2) / (2 * CENTRE_SIGMA**2))
    window = (window / window.sum()).astype(np.float32)
    centre: Features = np.einsum("nchw,h,w->nc", values, window, window)
    return centre, values.mean(axis=(2, 3))
