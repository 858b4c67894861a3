"""How often a classifier is wrong where it answers only when it is sure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from curate.impact.arms import Arm
from curate.impact.arrays import Floats

STEPS = 20
"""Points of the curve, at equal steps of coverage."""


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Risk against coverage, mean over models.

    Args:
        area: mean risk over every coverage: less is better.
        coverage: shares of images that get an answer, those of most confidence first.
        risk: shares of these answers that are wrong.
    """

    area: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]


def trace_risk(arms: Sequence[Arm]) -> RiskCoverage:
    """Answer the images in order of confidence (Geifman and El-Yaniv, NeurIPS 2017)."""
    risks = np.mean([_risks(arm) for arm in arms], axis=0)
    n = len(risks)
    answered = [max(1, round(n * step / STEPS)) for step in range(1, STEPS + 1)]
    return RiskCoverage(
        float(risks.mean()),
        tuple(count / n for count in answered),
        tuple(float(risks[count - 1]) for count in answered),
    )


def _risks(arm: Arm) -> Floats:
    """The risk after each answer; images of equal confidence share their errors evenly."""
    _, kinds = np.unique(-arm.confidence, return_inverse=True)
    wrong = (arm.rank > 0).astype(np.float64)
    shared = np.bincount(kinds, wrong) / np.bincount(kinds)
    return np.asarray(np.cumsum(shared[np.sort(kinds)]) / np.arange(1, len(wrong) + 1))
