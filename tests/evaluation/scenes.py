"""Simulated labels and detections, whose truth is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from curate.core.faces import Detection, TruthFace, TruthImage
from curate.core.geometry import Box, shift
from curate.evaluation.matching import MatchedImage, Rules, match_image

RULES = Rules()
FACE = Box(10, 10, 30, 30)


def detection(box: Box, confidence: float = 0.9) -> Detection:
    return Detection(box, confidence, "test")


def simulate(
    recall: Mapping[str, float], photos: int = 200, seed: int = 0, least: float = 0.5
) -> list[MatchedImage]:
    """Photos with one to four faces, of one of the groups each, found as often as stated.

    A face that is found has a confidence between ``least`` and 1; one that is not has one
    between 0 and ``least``, so that a low threshold finds every face.
    """
    random = np.random.default_rng(seed)
    names, images = list(recall), []
    for number in range(photos):
        faces, detections = [], []
        for position in range(random.integers(1, 5)):
            name = names[random.integers(len(names))]
            box = shift(FACE, 100 * position, 0)
            faces.append(TruthFace(box, {"tone": name}))
            found = random.random() < recall[name]
            confidence = random.uniform(least, 1) if found else random.uniform(0, least)
            detections.append(detection(box, confidence))
        images.append((TruthImage(f"{number}.jpg", tuple(faces)), detections))
    return [match_image(truth, detections, RULES) for truth, detections in images]


def cut(images: list[MatchedImage], threshold: float) -> list[MatchedImage]:
    """The same photos, with the detections from a confidence on."""
    again = []
    for image in images:
        truth = TruthImage(
            image.id, tuple(TruthFace(face.box, face.attributes) for face in image.faces)
        )
        detections = [
            detection(face.box, face.found[0]) for face in image.faces if face.found[0] >= threshold
        ]
        again.append(match_image(truth, detections, RULES))
    return again
