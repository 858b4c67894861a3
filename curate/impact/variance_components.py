"""Means over images and seeds with intervals that hold for other images and other seeds.

Every seed's network classifies every image, so both are crossed random effects, as readers
and cases are in multi-reader studies. The variance of a mean is computed from three mean
squares: between images, between seeds, and residual (Searle, Casella and McCulloch, *Variance
Components*, 1992, chapter 4), with Satterthwaite's degrees of freedom (Biometrics 2, 1946) for
Student's t. The variance between few seeds can by chance fall below the residual; it is bounded
below by it, as in Hillis (Statistics in Medicine 26, 2007).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.special import stdtr, stdtrit

from curate.core.intervals import LEVEL, Interval, Share, hull, newcombe, paired_interval, wilson
from curate.impact.experiment import Bools, Floats, Hits
from curate.impact.paired import mcnemar


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over images and seeds.

    Args:
        n: number of images.
        value: the mean; NaN without images.
        interval: 95 % interval for other images and seeds; with one seed for other images only.
        p: two-sided p-value of a true mean of 0; NaN where it does not apply.
        per_seed: mean of each seed.
    """

    n: int
    value: float
    interval: Interval
    p: float
    per_seed: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Spread:
    """Variance of a mean and its degrees of freedom.

    Args:
        variance: of the mean.
        df: Satterthwaite's degrees of freedom; may be infinite.
    """

    variance: float
    df: float

    def around(self, value: float, level: float = LEVEL) -> Interval:
        """Return Student's t interval."""
        half = float(stdtrit(self.df, (1 + level) / 2)) * math.sqrt(self.variance)
        return Interval(value - half, value + half)

    def p(self, value: float) -> float:
        """Return the two-sided p-value of a true mean of 0."""
        if self.variance == 0:
            return 1.0 if value == 0 else 0.0
        return float(2 * stdtr(self.df, -abs(value) / math.sqrt(self.variance)))


def decompose(samples: Sequence[Floats]) -> Spread:
    """Return the variance of a sum of means over independent samples of images, same seeds.

    Args:
        samples: each of shape (N, S), N at least 2, S seeds at least 1; signed values.
    """
    seeds = samples[0].shape[1]
    between = [float(each.mean(axis=1).var(ddof=1)) / len(each) for each in samples]
    images = sum(between)
    squares = [value**2 / (len(each) - 1) for value, each in zip(between, samples, strict=True)]
    if seeds == 1:
        return Spread(images, _divide(images**2, sum(squares)))
    rest = [_residual(each) for each in samples]
    left = sum(rest)
    moved = float(np.sum([each.mean(axis=0) for each in samples], axis=0).var(ddof=1)) / seeds
    moved = max(moved, left)
    variance = max(images + moved - left, moved)
    squares.append(moved**2 / (seeds - 1))
    squares += [
        value**2 / ((len(each) - 1) * (seeds - 1))
        for value, each in zip(rest, samples, strict=True)
    ]
    return Spread(variance, _divide(variance**2, sum(squares)))


def estimate_accuracy(hits: Bools) -> Estimate:
    """Estimate an accuracy; the interval contains Wilson's over images alone.

    Args:
        hits: per-image correctness, shape (N, S), N may be 0.
    """
    if not len(hits):
        return _nothing(hits.shape[1], Interval(0.0, 1.0))
    values = hits.astype(np.float64)
    value, n = float(values.mean()), len(values)
    interval = wilson(Share(round(value * n), n))
    interval = hull(Interval(min(interval.low, value), max(interval.high, value)), _around(values))
    return Estimate(n, value, _clip(interval, 0.0), math.nan, _means(values))


def estimate_difference(hits: Hits) -> Estimate:
    """Estimate a paired difference; the interval contains Bonett and Price's over images alone.

    Where all images change equally, the mean squares are 0: p is at least that of McNemar's exact
    test, and at least 0.05 where the interval contains 0.

    Args:
        hits: shape (N, S); N may be 0.
    """
    values = hits.differences
    if not len(values):
        return _nothing(values.shape[1], Interval(-1.0, 1.0))
    value, alone = float(values.mean()), paired_interval(values.mean(axis=1))
    p = max(mcnemar(hits).p, p_of_interval(value, alone))
    if len(values) > 1:
        p = max(p, decompose([values]).p(value))
    interval = hull(alone, _around(values))
    return Estimate(len(values), value, _clip(interval, -1.0), p, _means(values))


def estimate_gap(best: Bools, worst: Bools, comparisons: int = 1) -> Estimate:
    """Estimate the gap of accuracy between two groups of images, same seeds.

    The interval contains Newcombe's over images alone.

    Args:
        best: shape (N, S), N at least 2.
        worst: shape (M, S), M at least 2.
        comparisons: number of intervals that hold simultaneously (Bonferroni).
    """
    level = 1 - (1 - LEVEL) / comparisons
    high, low = (Share(round(float(each.mean()) * len(each)), len(each)) for each in (best, worst))
    return _gap(
        best.astype(np.float64), worst.astype(np.float64), newcombe(high, low, level), comparisons
    )


def estimate_growth(best: Hits, worst: Hits, comparisons: int = 1) -> Estimate:
    """Estimate the growth of a gap between two groups from one cell to another.

    The interval contains that of Bonett and Price's two, combined by the square-and-add method.

    Args:
        best: shape (N, S), N at least 2.
        worst: shape (M, S), M at least 2.
        comparisons: number of intervals that hold simultaneously (Bonferroni).
    """
    level = 1 - (1 - LEVEL) / comparisons
    a, b = best.differences, worst.differences
    value = float(a.mean() - b.mean())
    of_a, of_b = paired_interval(a.mean(axis=1), level), paired_interval(b.mean(axis=1), level)
    low = value - math.hypot(a.mean() - of_a.low, of_b.high - b.mean())
    high = value + math.hypot(of_a.high - a.mean(), b.mean() - of_b.low)
    return _gap(a, b, Interval(low, high), comparisons)


def _gap(best: Floats, worst: Floats, images_alone: Interval, comparisons: int) -> Estimate:
    level = 1 - (1 - LEVEL) / comparisons
    value = float(best.mean() - worst.mean())
    spread = decompose([best, -worst])
    per_seed = best.mean(axis=0) - worst.mean(axis=0)
    interval = hull(images_alone, spread.around(value, level))
    p = max(spread.p(value), p_of_interval(value, images_alone, level))
    return Estimate(
        len(best) + len(worst),
        value,
        Interval(max(-2.0, interval.low), min(2.0, interval.high)),
        min(1.0, comparisons * p),
        tuple(float(each) for each in per_seed),
    )


def _residual(values: Floats) -> float:
    """Residual component of the variance of the mean."""
    n, seeds = values.shape
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    return float((rest**2).sum() / ((n - 1) * (seeds - 1) * n * seeds))


def p_of_interval(value: float, interval: Interval, level: float = LEVEL) -> float:
    """Return the normal p-value of an interval: 1 - level where its nearer end is 0."""
    if value == 0:
        return 1.0
    reach = value - interval.low if value > 0 else interval.high - value
    steps = NormalDist().inv_cdf((1 + level) / 2) * abs(value) / reach
    return 2 * NormalDist().cdf(-steps)


def _around(values: Floats) -> Interval | None:
    return decompose([values]).around(float(values.mean())) if len(values) > 1 else None


def _means(values: Floats) -> tuple[float, ...]:
    return tuple(float(each) for each in values.mean(axis=0))


def _clip(interval: Interval, low: float) -> Interval:
    return Interval(max(low, interval.low), min(1.0, interval.high))


def _nothing(seeds: int, interval: Interval) -> Estimate:
    return Estimate(0, math.nan, interval, math.nan, (math.nan,) * seeds)


def _divide(above: float, below: float) -> float:
    return above / below if below > 0 else math.inf
