"""The order of the queue: expected missed faces found per second of a reviewer's time.

The model is simple on purpose, and each term is one that a user can check:

* A detector that finds faces of a height with recall r leaves (1 - r) / r missed faces for
  every one that it found (the Horvitz-Thompson estimate), so crowds of small faces come first.
* A box of low confidence, or one that only some of the detectors support, says that the
  detectors are unsure in this image: other faces may lie just below the threshold.
* A group in which reviewers have found more missed faces than expected gets a larger factor.
* An image with a face in one copy and none in a near-duplicate comes before all others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from curate.core.faces import Face

ORDERS: Mapping[str, str] = {
    "found": "expected missed faces per second of work, highest first",
    "confidence": "the least certain box first",
    "size": "the smallest face first",
    "id": "by id",
    "random": "by a seeded hash of the id",
}
"""The orders of a queue, each in a line."""

CONFIDENT = 0.8
"""Images whose boxes all have at least this confidence are shown on the contact sheet."""

_RECALL = ((8.0, 0.3), (16.0, 0.4), (32.0, 0.8), (64.0, 0.92), (math.inf, 0.94))
"""Recall of the default detector by height in pixels: below each edge, that value."""

_EMPTY = 0.04  # missed faces in an image in which nothing was found
_LOOK_S, _BOX_S, _MEGAPIXEL_S = 1.0, 0.5, 0.1  # seconds to look, per box, per 10⁶ pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What is known about one image before anyone has looked.

    Args:
        faces: the proposed faces.
        pixels: pixels of the image; 0 where that is not known.
        detectors: detectors that took part in the run.
        group_factor: missed faces in the image's groups, relative to all images.
        contradicted: whether a near-duplicate has a face and this image none.
    """

    faces: Sequence[Face]
    pixels: int = 0
    detectors: int = 1
    group_factor: float = 1.0
    contradicted: bool = False


def expected_missed(prospect: Prospect) -> float:
    """Expected number of faces that were missed in an image.

    >>> expected_missed(Prospect(faces=()))
    0.04
    """
    missed = _EMPTY
    for face in prospect.faces:
        recall = next(value for edge, value in _RECALL if face.box.height < edge)
        missed += (1 - recall) / recall
        confidence = 1.0 if face.confidence is None else face.confidence
        missed += 0.3 * (1 - confidence)
        if face.detectors and prospect.detectors > 1:
            missed += 0.2 * (1 - min(1.0, len(face.detectors) / prospect.detectors))
    if prospect.contradicted:
        missed += 1.0
    return missed * prospect.group_factor


def expected_seconds(prospect: Prospect) -> float:
    """Expected time to review an image, seconds."""
    return _LOOK_S + _BOX_S * len(prospect.faces) + _MEGAPIXEL_S * prospect.pixels / 1e6


def rank(prospect: Prospect) -> float:
    """Expected missed faces per second of work; contradicted near-duplicates above all others."""
    value = expected_missed(prospect) / expected_seconds(prospect)
    return value + 1e6 if prospect.contradicted else value


def is_confident(faces: Sequence[Face]) -> bool:
    """Whether all boxes are certain enough for the contact sheet; true where there is none."""
    return all(
        face.decided_by == "person" or least_confidence([face]) >= CONFIDENT for face in faces
    )


def least_confidence(faces: Sequence[Face]) -> float:
    """The lowest confidence of a box, 1 where there is none."""
    return min((1.0 if f.confidence is None else f.confidence for f in faces), default=1.0)


def group_factors(seen: Iterable[tuple[str, float, int]], weight: float = 5.0) -> dict[str, float]:
    """How many more missed faces each group has than expected, shrunk towards 1.

    Args:
        seen: for each reviewed image a group, the expected number of missed faces, and
            how many were found.
        weight: expected faces of prior belief in a factor of 1.

    Returns:
        The factor by group, between 0.25 and 4; groups that were not seen are absent.
    """
    expected: dict[str, float] = {}
    found: dict[str, int] = {}
    for group, likely, added in seen:
        expected[group] = expected.get(group, 0.0) + likely
        found[group] = found.get(group, 0) + added
    total_expected = sum(expected.values())
    overall = (sum(found.values()) + weight) / (total_expected + weight)
    return {
        group: min(4.0, max(0.25, (found[group] / overall + weight) / (expected[group] + weight)))
        for group in expected
    }
