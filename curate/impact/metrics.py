"""Metrics of predicted scores: ranks, average precision, calibration, selective accuracy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.core.calibration import Calibration, measure_calibration
from curate.impact.experiment import Arm, Floats, Ints, Scores

_TOLERANCE = 1e-3  # of a sum of half-precision probabilities


class Ranked(NamedTuple):
    """Ranks of some images.

    Args:
        predicted: class with the highest score, shape (n,).
        rank: rank of the true class, 0 for the best, shape (n,).
        confidence: probability or score of the predicted class, shape (n,).
        likelihood: probability or score of the true class, shape (n,).
    """

    predicted: Ints
    rank: Ints
    confidence: Floats
    likelihood: Floats


def are_probabilities(scores: Scores, complete: bool) -> bool:
    """Return whether every row could be a distribution over classes.

    Args:
        scores: shape (n, K).
        complete: whether rows cover all classes and must sum to 1, not at most 1.
    """
    sums = scores.sum(axis=1, dtype=np.float64)
    adds_up = sums <= 1 + _TOLERANCE
    if complete:
        adds_up &= sums >= 1 - _TOLERANCE
    return bool(np.all(scores >= 0) and np.all(adds_up))


def log_softmax(logits: Scores) -> Scores:
    """Return log-probabilities, which unlike logits are comparable between images.

    Probabilities would underflow to 0 for many classes in single precision, and tie.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def rank_dense(scores: Scores, labels: Ints) -> Ranked:
    """Rank all classes; ties are broken by class index.

    Args:
        scores: shape (n, C).
        labels: shape (n,).
    """
    rows = np.arange(len(labels))
    predicted = scores.argmax(axis=1)
    own = scores[rows, labels][:, None]
    above = (scores > own).sum(axis=1)
    before = ((scores == own) & (np.arange(scores.shape[1]) < labels[:, None])).sum(axis=1)
    confidence = scores[rows, predicted].astype(np.float64)
    rank = (above + before).astype(np.int64)
    return Ranked(predicted.astype(np.int64), rank, confidence, own[:, 0].astype(np.float64))


def rank_listed(classes: Ints, scores: Scores, labels: Ints) -> Ranked:
    """Rank classes that are listed best first; an unlisted true class gets rank K and score 0.

    Args:
        classes: shape (n, K).
        scores: shape (n, K), as listed.
        labels: shape (n,).
    """
    found = classes == labels[:, None]
    rank = np.where(found.any(axis=1), found.argmax(axis=1), classes.shape[1])
    own = np.where(found, scores, 0.0).sum(axis=1)
    return Ranked(classes[:, 0], rank.astype(np.int64), scores[:, 0].astype(np.float64), own)


def spread(classes: Ints, scores: Scores, total: int) -> Scores:
    """Return listed scores as a matrix over all classes, minus infinity where unlisted."""
    full = np.full((len(classes), total), -np.inf, dtype=np.float32)
    np.put_along_axis(full, classes, scores, axis=1)
    return full


def average_precision(scores: Scores, positives: Ints) -> float:
    """Average precision of one class; NaN without positives.

    AP = Σ (R_k - R_(k-1)) P_k over distinct thresholds, without interpolation, as in
    scikit-learn's ``average_precision_score``. Images with equal scores share a threshold, so a
    constant score gives the prevalence.

    Args:
        scores: the class's score of each image, shape (N,); may be minus infinity.
        positives: indices of the images of the class.
    """
    if not len(positives):
        return float("nan")
    found = np.sort(scores[positives])
    # For each image, the number of positives with at most its score.
    below = np.searchsorted(found, scores, side="right")
    passed = np.cumsum(np.bincount(below, minlength=len(found) + 1)[::-1])[::-1]
    first = np.searchsorted(found, found, side="left")
    # passed[i] counts the images at least as high as positive number i - 1.
    return float(np.mean((len(found) - first) / passed[first + 1]))


def average_precisions(blocks: Iterable[tuple[int, Scores]], labels: Ints, classes: int) -> Floats:
    """Return the average precision of each class; NaN for classes without images.

    Args:
        blocks: a class index with the scores, shape (N, K), of it and the next K - 1 classes.
        labels: true classes, shape (N,).
        classes: number of classes.
    """
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(classes + 1))
    found = np.full(classes, np.nan)
    for first, scores in blocks:
        for column in range(scores.shape[1]):
            index = first + column
            positives = order[ends[index] : ends[index + 1]]
            if len(positives):
                column_scores = np.ascontiguousarray(scores[:, column])
                found[index] = average_precision(column_scores, positives)
    return found


def calibrate(arms: Sequence[Arm]) -> Calibration:
    """Compute the calibration of several models on the same images.

    Args:
        arms: whose confidences are probabilities.
    """
    return measure_calibration([(arm.confidence, arm.rank < 1) for arm in arms])


STEPS = 20
"""Points of the risk-coverage curve, at equal steps of coverage."""


@dataclass(frozen=True, slots=True)
class RiskCoverage:
    """Risk-coverage curve of selective prediction, mean over models.

    Args:
        area: area under the curve; lower is better.
        coverage: shares of images that are answered, most confident first.
        risk: error rates among the answered images.
    """

    area: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]


def trace_risk(arms: Sequence[Arm]) -> RiskCoverage:
    """Compute the risk-coverage curve (Geifman and El-Yaniv, NeurIPS 2017)."""
    risks = np.mean([_risks(arm) for arm in arms], axis=0)
    n = len(risks)
    answered = [max(1, round(n * step / STEPS)) for step in range(1, STEPS + 1)]
    return RiskCoverage(
        float(risks.mean()),
        tuple(count / n for count in answered),
        tuple(float(risks[count - 1]) for count in answered),
    )


def _risks(arm: Arm) -> Floats:
    """Risk after each answer; images of equal confidence share their errors evenly."""
    _, kinds = np.unique(-arm.confidence, return_inverse=True)
    wrong = (arm.rank > 0).astype(np.float64)
    shared = np.bincount(kinds, wrong) / np.bincount(kinds)
    return np.asarray(np.cumsum(shared[np.sort(kinds)]) / np.arange(1, len(wrong) + 1))
