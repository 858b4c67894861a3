"""From scores to what is kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from curate.impact.arms import Arm
from curate.impact.arrays import Bools, Floats, Ints, Scores

_TOLERANCE = 1e-3  # of a sum of half-precision probabilities


class Ranked(NamedTuple):
    """What is kept of some images' scores.

    Args:
        predicted: n, the best class.
        rank: n, the label's place, 0 for the best.
        confidence: n, the best class's probability or score.
    """

    predicted: Ints
    rank: Ints
    confidence: Floats


def are_probabilities(scores: Scores, complete: bool) -> bool:
    """Whether every row could be a distribution over classes.

    Args:
        scores: n×K.
        complete: whether all classes are in it, so that rows must add up to 1 and not
            only to 1 at most.
    """
    sums = scores.sum(axis=1, dtype=np.float64)
    adds_up = sums <= 1 + _TOLERANCE
    if complete:
        adds_up &= sums >= 1 - _TOLERANCE
    return bool(np.all(scores >= 0) and np.all(adds_up))


def log_softmax(logits: Scores) -> Scores:
    """Logarithms of probabilities: unlike logits, they compare between images.

    Probabilities themselves would be 0 for many classes in single precision, and tie.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def rank_dense(scores: Scores, labels: Ints) -> Ranked:
    """Rank all classes; of equal scores the earlier class is better, for label and best alike.

    Args:
        scores: n×C.
        labels: n.
    """
    rows = np.arange(len(labels))
    predicted = scores.argmax(axis=1)
    own = scores[rows, labels][:, None]
    above = (scores > own).sum(axis=1)
    before = ((scores == own) & (np.arange(scores.shape[1]) < labels[:, None])).sum(axis=1)
    confidence = scores[rows, predicted].astype(np.float64)
    return Ranked(predicted.astype(np.int64), (above + before).astype(np.int64), confidence)


def rank_listed(classes: Ints, scores: Scores, labels: Ints) -> Ranked:
    """Rank classes that are listed best first; a label that is not among them is past them.

    Args:
        classes: n×K.
        scores: n×K, as listed.
        labels: n.
    """
    found = classes == labels[:, None]
    rank = np.where(found.any(axis=1), found.argmax(axis=1), classes.shape[1])
    return Ranked(classes[:, 0], rank.astype(np.int64), scores[:, 0].astype(np.float64))


def spread(classes: Ints, scores: Scores, total: int) -> Scores:
    """Listed scores in a matrix of all classes, minus infinity where nothing is listed."""
    full = np.full((len(classes), total), -np.inf, dtype=np.float32)
    np.put_along_axis(full, classes, scores, axis=1)
    return full


def average_precision(scores: Scores, positives: Ints) -> float:
    """Area under the precision-recall curve as a sum over steps; NaN without positives.

    Images with equal scores come in together, so their order does not matter: a class
    whose score says nothing gets the share of its images.

    Args:
        scores: N, the class's score of each image; may be minus infinity.
        positives: which images are of the class.
    """
    if not len(positives):
        return float("nan")
    found = np.sort(scores[positives])
    # For each image, how many positives are at most as high: these are what it comes before.
    places = np.searchsorted(found, scores, side="right")
    passed = np.cumsum(np.bincount(places, minlength=len(found) + 1)[::-1])[::-1]
    first = np.searchsorted(found, found, side="left")
    # passed[i] counts the images at least as high as positive number i - 1.
    return float(np.mean((len(found) - first) / passed[first + 1]))


def average_precisions(blocks: Iterable[tuple[int, Scores]], labels: Ints, classes: int) -> Floats:
    """Average precision by class; NaN of a class without images.

    Args:
        blocks: a class's place and the N×K scores of it and the next K - 1 classes.
        labels: N, each image's class.
        classes: how many there are.
    """
    order = np.argsort(labels, kind="stable")
    ends = np.searchsorted(labels[order], np.arange(classes + 1))
    found = np.full(classes, np.nan)
    for first, scores in blocks:
        for column in range(scores.shape[1]):
            place = first + column
            positives = order[ends[place] : ends[place + 1]]
            if len(positives):
                column_scores = np.ascontiguousarray(scores[:, column])
                found[place] = average_precision(column_scores, positives)
    return found


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
