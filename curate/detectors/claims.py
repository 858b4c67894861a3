"""A model's claims as arrays, while they are computed with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.core.faces import Detection
from curate.core.geometry import Box

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Claims:
    """Boxes with their scores.

    Args:
        boxes: N×4 float64, half-open ``xyxy``, pixels.
        scores: N float64, 0..1.
    """

    boxes: Floats
    scores: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, which: Indices | Mask) -> Claims:
        """The claims at these indices, or where a mask is true, in that order."""
        return Claims(self.boxes[which], self.scores[which])

    def order(self) -> Indices:
        """Indices by descending score, then by box."""
        x0, y0, x1, y1 = self.boxes.T
        return np.lexsort((y1, x1, y0, x0, -self.scores))

    def clipped(self, width: int, height: int) -> Claims:
        """The claims clipped to a ``width`` × ``height`` image, without those that it loses."""
        boxes = self.boxes.copy()
        boxes[:, 0::2] = boxes[:, 0::2].clip(0, width)
        boxes[:, 1::2] = boxes[:, 1::2].clip(0, height)
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return Claims(boxes[kept], self.scores[kept])

    def detections(self, detector: str) -> list[Detection]:
        """The claims as values, ordered as the detector's contract demands."""
        ordered = self.take(self.order())
        return [
            Detection(Box(x0, y0, x1, y1), score, detector)
            for (x0, y0, x1, y1), score in zip(
                ordered.boxes.tolist(), ordered.scores.tolist(), strict=True
            )
        ]


def no_claims() -> Claims:
    """No claim at all."""
    return Claims(np.empty((0, 4)), np.empty(0))


def join(parts: list[Claims]) -> Claims:
    """All claims of several sets, one after the other."""
    if not parts:
        return no_claims()
    return Claims(
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )
