"""Precision and recall as the confidence that is asked for falls."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.intervals import Floats

_MOST_POINTS = 200


@dataclass(frozen=True, slots=True)
class Curve:
    """A point for each confidence that occurs, descending.

    Args:
        confidence: detections from this confidence on are taken.
        recall: share of the faces that they find.
        precision: share of them that find a face.
    """

    confidence: Floats
    recall: Floats
    precision: Floats

    @property
    def average_precision(self) -> float:
        """Area under the curve, each precision raised to the best at the same recall or a higher.

        All-point interpolation, as PASCAL VOC since 2010 (Everingham et al.,
        IJCV 88, 2010); COCO takes 101 points of the same curve.
        """
        raised = np.maximum.accumulate(self.precision[::-1])[::-1]
        return float((np.diff(self.recall, prepend=0.0) * raised).sum())

    def thin(self) -> Curve:
        """At most 200 points, evenly chosen, both ends among them; for drawing."""
        if len(self.confidence) <= _MOST_POINTS:
            return self
        chosen = np.linspace(0, len(self.confidence) - 1, _MOST_POINTS).round().astype(int)
        return Curve(self.confidence[chosen], self.recall[chosen], self.precision[chosen])


def draw_curve(confidence: npt.ArrayLike, right: npt.ArrayLike, faces: int) -> Curve:
    """Precision and recall over detections; those of one confidence come together.

    Args:
        confidence: N, of the detections that count.
        right: N bool, whether each finds a face.
        faces: how many faces count; at least 1.
    """
    scores = np.asarray(confidence, dtype=np.float64)
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.asarray(right, dtype=np.float64)[order].cumsum()
    last = np.flatnonzero(np.diff(scores, append=-np.inf))  # of each run of equal confidences
    return Curve(scores[last], hits[last] / faces, hits[last] / (last + 1.0))
