"""Probability that a candidate box is a person's face, from its scores, size and context.

Two logistic regressions. The first sees the scores of a candidate as log-odds, each alone
and multiplied by its log height, since a score means more of a large face than of a small
one. The second also sees the image-level context: the highest probability of the image's
other candidates, and how many of them are probable. With scores ``s``, height ``h`` (pixels)
and ``z = ln h − 3.2``::

    x = [logit(s), logit(s)·z, z, z²]
    p₁ = σ(x·w₁ + b₁)
    p = σ([x, logit(max p₁ of the others), ln(1 + number of others with p₁ ≥ ½)]·w₂ + b₂)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from curate.detectors.candidates import Floats
from curate.detectors.weights import packaged

FILE = "calibration.json"
SHA256 = "0368bde05cbd80a9cfedb700560a780b306a9a7bfd2ae931c79d165cbb5053dc"
MIDDLE = 3.2
"""Log height, pixels, at which the interactions vanish: about 25 pixels."""
MIN_HEIGHT = 4.0
PROBABLE = 0.5
"""Probability from which a candidate counts as a face of the context."""


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Weights of the two regressions.

    Args:
        features: names of the score columns.
        first: weights of the first, one for each column of the design matrix.
        first_bias: its intercept.
        second: weights of the second, two more.
        second_bias: its intercept.
    """

    features: tuple[str, ...]
    first: Floats
    first_bias: float
    second: Floats
    second_bias: float

    def probabilities(self, columns: Floats, heights: Floats) -> Floats:
        """Probability of each candidate of one image.

        Args:
            columns: log-odds, float64, shape (N, F), in the order of ``features``.
            heights: of the boxes, pixels, shape (N,).

        Returns:
            float64, shape (N,), 0..1.
        """
        x = design_matrix(columns, heights)
        alone = sigmoid(x @ self.first + self.first_bias)
        return sigmoid(np.column_stack([x, context(alone)]) @ self.second + self.second_bias)


def design_matrix(columns: Floats, heights: Floats) -> Floats:
    """Columns of the regressions: ``x`` of the module's formula, shape (N, 2F + 2)."""
    z = np.log(np.maximum(heights, MIN_HEIGHT)) - MIDDLE
    return np.column_stack([columns, columns * z[:, None], z, z * z])


def context(probabilities: Floats) -> Floats:
    """Image-level context of each candidate, shape (N, 2): see the module's formula."""
    if not len(probabilities):
        return np.empty((0, 2))
    order = np.argsort(-probabilities, kind="stable")
    highest = np.full(len(probabilities), probabilities[order[0]])
    highest[order[0]] = probabilities[order[1]] if len(order) > 1 else 0.0
    probable = probabilities >= PROBABLE
    others = np.count_nonzero(probable) - probable
    return np.column_stack([log_odds(highest, 0.01), np.log1p(others)])


def log_odds(scores: Floats, bound: float = 0.005) -> Floats:
    """``ln(s / (1 − s))`` of scores clipped to ``bound`` .. ``1 − bound``."""
    clipped = np.clip(scores, bound, 1.0 - bound)
    odds: Floats = np.log(clipped / (1.0 - clipped))
    return odds


def sigmoid(logits: Floats) -> Floats:
    """The logistic function."""
    result: Floats = 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))
    return result


@cache
def load_calibrations() -> Mapping[str, Calibration]:
    """The packaged calibrations by name.

    Raises:
        WeightsError: if the file is missing or altered.
    """
    values = json.loads(packaged(FILE, SHA256).read_text(encoding="utf-8"))
    return {name: parse_calibration(each) for name, each in values["calibrations"].items()}


def parse_calibration(values: Mapping[str, Any]) -> Calibration:
    """A calibration from plain values."""
    return Calibration(
        tuple(values["features"]),
        np.array(values["first"], dtype=np.float64),
        float(values["first_bias"]),
        np.array(values["second"], dtype=np.float64),
        float(values["second_bias"]),
    )
