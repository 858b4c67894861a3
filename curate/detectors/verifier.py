"""Second stage: candidate boxes scored again on two crops each.

CenterFace knows faces best at about 32 to 48 pixels with their surroundings, so each
candidate is shown to it again at that size, whatever its size in the image. The same run
gives the maps of its backbone, on which a linear head separates people's faces from
animals', statues' and things (see ``scripts/train_detector``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.core.protocols import Pixels
from curate.detectors.candidates import Candidates, Floats, overlap
from curate.detectors.centerface import decode_batch
from curate.detectors.network import Maps, Network
from curate.detectors.passes import Square, square
from curate.detectors.weights import packaged

Features = npt.NDArray[np.float32]

HEAD = "verifier_head.npz"
HEAD_SHA256 = "bd23610a2e657af134e197ace8c0c3f711621790a66c87767f4d84d35832020d"
CROPS = ((3.0, False), (2.0, True))
"""Crops of a candidate: side in multiples of its longer side, and whether mirrored."""
SIDE = 96
"""Pixels to which every crop is resized."""
CENTER_SIGMA = 0.18
"""Width of the pooling window around the face, as a share of the crop's side."""
SAME_IOU = 0.3
"""IoU from which a box in a crop counts as the candidate's."""
MIN_SCORE = 0.01
"""Boxes in a crop with a lower score are ignored."""
BATCH = 16
"""Crops that are scored together; more no longer fit in a processor's cache."""
BATCH_ON_CUDA = 256


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Logistic regression on pooled backbone features.

    Args:
        weight: one float32 per feature.
        bias: the intercept.
        provenance: how it was trained: data, seed, script.
    """

    weight: Features
    bias: float
    provenance: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Rescored:
    """Candidates after the second stage.

    Args:
        boxes: float64, shape (2, N, 4): the candidate's box in each crop, in pixels of the
            image; the candidate's own where none was found.
        scores: float64, shape (2, N): score of that box, 0 where none was found.
        features: float32, shape (N, D): pooled backbone features of both crops.
    """

    boxes: Floats
    scores: Floats
    features: Features

    def person_logits(self, head: Head) -> Floats:
        """Log-odds of a person's face by the head, float64, shape (N,)."""
        logits: Floats = self.features.astype(np.float64) @ head.weight.astype(np.float64)
        return logits + head.bias


def rescore(network: Network, image: Pixels, boxes: Floats) -> Rescored:
    """Score candidates of one image again; see `rescore_batch`."""
    return rescore_batch(network, [(image, boxes)])[0]


def rescore_batch(network: Network, candidates: Sequence[tuple[Pixels, Floats]]) -> list[Rescored]:
    """Score candidates again, each on two crops.

    Args:
        network: CenterFace with the outputs `centerface.OUTPUTS` and `centerface.FEATURES`.
        candidates: for each image its pixels, H×W×3 uint8, and float64 boxes, shape (N, 4),
            ``xyxy``, pixels of the image.

    Returns:
        One result per image, in order.
    """
    boxes = np.concatenate([some for _, some in candidates]).reshape(-1, 4)
    images = [image for image, some in candidates for _ in some]
    found_boxes = np.stack([boxes, boxes])
    found_scores = np.zeros((2, len(boxes)))
    features: list[Features] = []
    size = BATCH_ON_CUDA if network.batches else BATCH
    for start in range(0, len(boxes), size):
        part = range(start, min(start + size, len(boxes)))
        pooled: list[Features] = []
        for which, (context, mirrored) in enumerate(CROPS):
            squares = [square(images[i], boxes[i], context, SIDE) for i in part]
            pixels = np.stack([each.pixels for each in squares])
            maps = network.run_images(pixels[:, :, ::-1] if mirrored else pixels)
            for i, box, score in _best(maps, boxes[start:], squares, mirrored):
                found_boxes[which, start + i] = box
                found_scores[which, start + i] = score
            pooled += [pool(values) for values in maps[3:]]
        features.append(np.concatenate(pooled, axis=1))
    empty = np.empty((0, 0), dtype=np.float32)
    together = np.concatenate(features) if features else empty
    ends = np.cumsum([len(some) for _, some in candidates])
    return [
        Rescored(found_boxes[:, start:end], found_scores[:, start:end], together[start:end])
        for start, end in zip((0, *ends), ends, strict=False)
    ]


def _best(
    maps: Sequence[Maps], boxes: Floats, squares: Sequence[Square], mirrored: bool
) -> Iterator[tuple[int, Floats, float]]:
    """The highest-scored box in each crop that is the candidate's: its index, box and score.

    Args:
        maps: the network's outputs for the crops.
        boxes: the candidates, float64, shape (at least N, 4), pixels of the image.
        squares: the N crops.
        mirrored: whether left and right are exchanged in the network's input.
    """
    inputs, seen = decode_batch(maps, MIN_SCORE)
    found = seen.boxes.copy()
    if mirrored:
        found[:, 0::2] = SIDE - found[:, 2::-2]
    found *= np.array([each.ratio for each in squares])[inputs, None]
    found += np.array([(each.x0, each.y0) * 2 for each in squares])[inputs]
    same = overlap(boxes[inputs].T, found) >= SAME_IOU
    inputs, seen = inputs[same], Candidates(found[same], seen.scores[same])
    order = seen.order()
    done: set[int] = set()
    for index in order:
        i = int(inputs[index])
        if i not in done:
            done.add(i)
            yield i, seen.boxes[index], float(seen.scores[index])


def pool(values: Maps) -> Features:
    """Means of N×C×h×h maps around their center and over the whole, N×2C float32."""
    side = values.shape[-1]
    position = (np.arange(side) + 0.5) / side - 0.5
    window = np.exp(-(position**2) / (2 * CENTER_SIGMA**2))
    window = (window / window.sum()).astype(np.float32)
    center = np.einsum("nchw,h,w->nc", values, window, window)
    return np.concatenate([center, values.mean(axis=(2, 3))], axis=1, dtype=np.float32)


def load_head() -> Head:
    """Read the head that is packaged with this module.

    Raises:
        WeightsError: if it is missing or altered.
    """
    with np.load(packaged(HEAD, HEAD_SHA256), allow_pickle=False) as arrays:
        provenance = json.loads(bytes(arrays["provenance"]).decode())
        return Head(arrays["weight"], float(arrays["bias"]), provenance)
