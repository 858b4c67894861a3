"""Expected calibration error of confidences, with its bias and an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from curate.core.intervals import LEVEL, Floats, Interval, student_quantile

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

BINS = 15
"""Number of bins of equal width between 0 and 1, closed at the upper end."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One bin of the reliability diagram.

    Args:
        low: lower end of the confidence, exclusive except in the first bin.
        high: upper end, inclusive.
        n: number of predictions of all models.
        confidence: mean confidence; NaN if empty.
        accuracy: share of correct predictions; NaN if empty.
    """

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Calibration: expected calibration error and reliability diagram.

    The expected calibration error is a mean of absolute differences, so that noise increases
    it: even a perfectly calibrated model has a positive error on a finite sample. ``calibrated``
    states that error, and ``interval`` allows for it.

    Args:
        ece: expected calibration error, 0..1, mean over models.
        interval: conservative 95 % interval over images, for these models and bins.
        debiased: ``ece`` less its estimated bias.
        calibrated: mean error of a perfectly calibrated model on this number of images.
        bins: reliability diagram over the predictions of all models.
    """

    ece: float
    interval: Interval
    debiased: float
    calibrated: float
    bins: tuple[Bin, ...]


def measure_calibration(
    models: Sequence[tuple[Floats, Bools]], clusters: Ints | None = None
) -> Calibration:
    """Compute the calibration over bins of equal width.

    ECE = Σ_b |Σ_(i in b) (confidence_i - correct_i)| / N (Guo et al., *On Calibration of Modern
    Neural Networks*, ICML 2017).

    The debiased estimate subtracts from each bin E|Z| - |d| for Z ~ N(d, s²), where d and s are
    the bin's difference and its standard error (Kumar, Liang and Ma, *Verified Uncertainty
    Calibration*, NeurIPS 2019). The bias lies between 0 and that of a calibrated model, B, and
    the standard error is at most σ, that of the mean of sign(d_b)·(confidence - correct), where
    predictions of several models, and all predictions of one cluster, vary together. The interval
    is ECE - B - t σ to ECE + t σ with Student's t for the number of clusters.

    Args:
        models: confidence, 0..1, and correctness of N predictions, at least one, per model.
        clusters: the cluster of each prediction, such as its image, shape (N,); None if
            predictions are independent.
    """
    n = len(models[0][0])
    codes = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    found = [_measure_error(confidence, right, codes) for confidence, right in models]
    error, debiased, calibrated = (
        float(np.mean([each[number] for each in found])) for number in range(3)
    )
    influence = np.mean([each[3] for each in found], axis=0)
    groups = len(influence)
    wide = student_quantile(LEVEL, groups - 1) if groups > 1 else 0.0
    wide *= math.sqrt(groups / max(groups - 1, 1)) * float(np.sqrt(influence @ influence)) / n
    if groups < 2:
        return Calibration(error, Interval(0.0, 1.0), debiased, calibrated, _diagram(models))
    interval = Interval(max(0.0, error - calibrated - wide), min(1.0, error + wide))
    return Calibration(error, interval, debiased, calibrated, _diagram(models))


def _measure_error(
    confidence: Floats, right: Bools, clusters: Ints
) -> tuple[float, float, float, Floats]:
    """Error, debiased error, error of a calibrated model, and each cluster's influence."""
    n, bins = len(confidence), _bin(confidence)
    residual = confidence - right
    sums: Floats = np.bincount(bins, residual, minlength=BINS).astype(np.float64)
    counts = np.maximum(np.bincount(bins, minlength=BINS), 1)
    error = float(np.abs(sums).sum()) / n
    centered = residual - (sums / counts)[bins]
    alone = np.bincount(bins, centered**2, minlength=BINS)
    joint = np.maximum(_clustered_squares(centered, bins, clusters), alone)
    debiased = max(0.0, float((2 * np.abs(sums) - _mean_absolute(sums, np.sqrt(joint))).sum()) / n)
    effect = np.divide(joint, alone, out=np.ones(BINS), where=alone > 1e-12)
    expected = effect * np.bincount(bins, confidence * (1 - confidence), minlength=BINS)
    calibrated = float(np.sqrt(2 / math.pi * np.maximum(expected, 0.0)).sum()) / n
    influence = np.bincount(clusters, np.sign(sums)[bins] * residual - error)
    return error, debiased, calibrated, influence.astype(np.float64)


def _clustered_squares(values: Floats, bins: Ints, clusters: Ints) -> Floats:
    """Sum over clusters of the squared sum of a cluster's values, in each bin."""
    codes, positions = np.unique(clusters * BINS + bins, return_inverse=True)
    sums = np.bincount(positions, values)
    return np.bincount(codes % BINS, sums**2, minlength=BINS).astype(np.float64)


def _mean_absolute(mean: Floats, deviation: Floats) -> Floats:
    """E|Z| of normal variables; |mean| where the deviation is 0."""
    ratio = np.divide(mean, deviation, out=np.zeros_like(mean), where=deviation > 0)
    density = np.sqrt(2 / math.pi) * deviation * np.exp(-(ratio**2) / 2)
    below = np.array([NormalDist().cdf(-each) for each in ratio])
    return np.where(deviation > 0, density + mean * (1 - 2 * below), np.abs(mean))


def _bin(confidence: Floats) -> Ints:
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _diagram(models: Sequence[tuple[Floats, Bools]]) -> tuple[Bin, ...]:
    confidence = np.concatenate([each for each, _ in models])
    bins = _bin(confidence)
    right = np.concatenate([each for _, each in models]).astype(np.float64)
    sums = [np.bincount(bins, each, minlength=BINS) for each in (None, confidence, right)]
    return tuple(
        Bin(index / BINS, (index + 1) / BINS, int(n), _mean(sure, n), _mean(good, n))
        for index, (n, sure, good) in enumerate(zip(*sums, strict=True))
    )


def _mean(total: float, n: float) -> float:
    return float(total / n) if n else float("nan")
