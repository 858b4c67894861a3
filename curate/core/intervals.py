"""Confidence intervals of proportions, their differences, paired means and cluster bootstraps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
"""Default confidence level."""

DRAWS = 2000
"""Default number of bootstrap resamples."""

Floats = npt.NDArray[np.float64]

_CELLS = 4_000_000  # drawn at once, to bound memory


class Interval(NamedTuple):
    """A closed interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """A proportion: ``hits`` of ``total`` independent trials."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The proportion, 0..1; NaN if ``total`` is 0."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> Interval:
        """Wilson score interval at 95 %; 0 to 1 if ``total`` is 0."""
        return wilson(self)


def wilson(share: Share, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval (JASA 22, 1927); 0 to 1 if ``total`` is 0.

    Args:
        share: proportion of independent trials; faces of one photo are not independent.
        level: the confidence level, 0..1.
    """
    if not share.total:
        return Interval(0.0, 1.0)
    n, p, z = share.total, share.value, _z(level)
    center = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if share.hits == 0 else center - half
    high = 1.0 if share.hits == n else center + half
    return Interval(low, high)


def newcombe(a: Share, b: Share, level: float = LEVEL) -> Interval:
    """Return the Newcombe interval of ``a`` minus ``b``, two independent proportions.

    Method 10 of Newcombe, *Interval estimation for the difference between
    independent proportions* (Statistics in Medicine 17, 1998), which combines the
    two Wilson intervals. -1 to 1 if one total is 0.
    """
    if not a.total or not b.total:
        return Interval(-1.0, 1.0)
    of_a, of_b = wilson(a, level), wilson(b, level)
    difference = a.value - b.value
    return Interval(
        difference - math.hypot(a.value - of_a.low, of_b.high - b.value),
        difference + math.hypot(of_a.high - a.value, b.value - of_b.low),
    )


def hull(interval: Interval, other: Interval | None) -> Interval:
    """Return the smallest interval that contains both; the first if ``other`` is None.

    Wilson and Newcombe intervals are valid for few trials but too narrow for correlated
    ones; the cluster bootstrap accounts for correlation but is too narrow for few trials
    and degenerate at 0 and 1. Reports show the hull of both.
    """
    if other is None:
        return interval
    return Interval(min(interval.low, other.low), max(interval.high, other.high))


def none_seen(exposure: float, level: float = LEVEL) -> Interval:
    """Return the exact Poisson interval of a rate with zero events (Garwood, Biometrika 28, 1936).

    Args:
        exposure: denominator of the rate, such as images; above 0.
        level: the confidence level, 0..1, two-sided.
    """
    return Interval(0.0, -math.log((1 - level) / 2) / exposure)


def paired(differences: npt.ArrayLike, level: float = LEVEL) -> Interval:
    """Return the adjusted Wald interval of the mean of paired differences; -1 to 1 if empty.

    Adds one gained and one lost pair, so that the interval has a positive width if no
    pair changed (Bonett and Price, *Adjusted Wald confidence interval for a difference
    of binomial proportions based on paired data*, JEBS 37, 2012). Their differences are
    -1, 0 and 1; means over several trials of a pair lie between.

    Args:
        differences: of independent pairs, each -1..1.
        level: the confidence level, 0..1.
    """
    values = np.asarray(differences, dtype=np.float64)
    if not len(values):
        return Interval(-1.0, 1.0)
    n = len(values) + 2
    center = float(values.sum()) / n
    variance = (float(values @ values) + 2) / n - center * center
    half = _z(level) * math.sqrt(variance / n)
    return Interval(max(-1.0, center - half), min(1.0, center + half))


def resample_ratios(
    counts: npt.ArrayLike, totals: npt.ArrayLike, draws: int = DRAWS, seed: int = 0
) -> Floats:
    """Cluster bootstrap of ratios of sums.

    Whole clusters are drawn with replacement, which preserves correlation within
    them (Davison and Hinkley, *Bootstrap Methods*, 1997, 3.8). All columns share the
    drawn clusters, so differences of columns are paired.

    Args:
        counts: C×K, numerators of each cluster; C at least 1.
        totals: C×K, denominators of each cluster.
        draws: number of resamples.
        seed: random seed.

    Returns:
        draws×K float64; NaN if a resample's total is 0.
    """
    above, below = np.asarray(counts, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    clusters = len(above)
    random = np.random.default_rng(seed)
    rows = max(1, _CELLS // clusters)
    ratios: list[Floats] = []
    for start in range(0, draws, rows):
        some = min(rows, draws - start)
        drawn = random.integers(0, clusters, size=(some, clusters))
        drawn += np.arange(some)[:, None] * clusters
        times = np.bincount(drawn.ravel(), minlength=some * clusters).reshape(some, clusters)
        top, bottom = times @ above, times @ below
        ratios.append(np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0))
    return np.concatenate(ratios)


def percentiles(samples: npt.ArrayLike, level: float = LEVEL) -> Interval | None:
    """Return the bootstrap percentile interval; NaN is ignored.

    Returns:
        None if more than a tenth of the values is NaN or all values are equal: the
        data are then too few or too uniform for a bootstrap.
    """
    values = np.asarray(samples, dtype=np.float64)
    known = values[np.isfinite(values)]
    if not len(known) or len(known) < 0.9 * len(values) or np.ptp(known) < 1e-12:
        return None
    tail = (1 - level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
