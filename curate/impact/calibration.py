"""Whether a classifier is right as often as it says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.impact.arms import Arm
from curate.impact.arrays import Bools, Floats

BINS = 15
"""Bins of equal width between 0 and 1; each holds its upper end, the first also 0."""


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions of about the same confidence.

    Args:
        low: least confidence, itself outside but for the first bin.
        high: greatest confidence.
        n: predictions of all models.
        confidence: their mean confidence; NaN of none.
        accuracy: the share of them that is right; NaN of none.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """The reliability diagram and its error.

    Args:
        ece: expected calibration error, 0..1, mean over models.
        bins: over the predictions of all models.
    """

    ece: float
    bins: tuple[Bin, ...]


def calibrate(arms: Sequence[Arm]) -> Calibration:
    """Confidence against accuracy (Guo et al., *On Calibration of Modern Neural Networks*, 2017).

    Args:
        arms: with probabilities as confidences.
    """
    errors = [_expected_error(_sums(arm.confidence, arm.rank < 1)) for arm in arms]
    sums = _sums(
        np.concatenate([arm.confidence for arm in arms]),
        np.concatenate([arm.rank < 1 for arm in arms]),
    )
    bins = [
        Bin(place / BINS, (place + 1) / BINS, int(n), _mean(confidence, n), _mean(right, n))
        for place, (n, confidence, right) in enumerate(sums)
    ]
    return Calibration(float(np.mean(errors)), tuple(bins))


def _sums(confidence: Floats, right: Bools) -> Floats:
    """Per bin: how many, the sum of their confidences, and how many are right."""
    places = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    weights = (np.ones_like(confidence), confidence, right.astype(np.float64))
    return np.stack([np.bincount(places, each, minlength=BINS) for each in weights], axis=1)


def _expected_error(sums: Floats) -> float:
    return float(np.abs(sums[:, 1] - sums[:, 2]).sum() / sums[:, 0].sum())


def _mean(total: float, n: float) -> float:
    return float(total / n) if n else float("nan")
