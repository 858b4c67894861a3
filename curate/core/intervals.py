"""Confidence intervals of proportions, their differences, paired means and cluster bootstraps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
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


@dataclass(frozen=True, slots=True)
class ClusteredShare(Share):
    """A proportion of trials in clusters, such as faces in photos, which are correlated.

    Its Wilson interval uses the effective number of trials and Student's t for the number of
    clusters (Korn and Graubard, *Survey Methodology* 24, 1998; Dean and Pagano, *Journal of
    Survey Statistics and Methodology* 3, 2015).

    Args:
        effective: ``total`` divided by the design effect, at most ``total``.
        clusters: number of clusters.
    """

    effective: float
    clusters: int


def share_clusters(hits: npt.ArrayLike, totals: npt.ArrayLike) -> ClusteredShare:
    """Return a proportion with its effective number of trials.

    The design effect is the variance of the ratio between clusters over that of independent
    trials, at least 1. It is estimated from the rarer outcome alone, so one more such event is
    assumed, with the design effect of perfect correlation: where all trials agree, clusters are
    counted.

    Args:
        hits: of each cluster, shape (C,); need not be whole.
        totals: trials of each cluster, shape (C,).
    """
    totals = np.asarray(totals, dtype=np.float64)
    known = totals > 0
    good, all_ = np.asarray(hits, dtype=np.float64)[known], totals[known]
    total, clusters = float(all_.sum()), len(all_)
    if not clusters:
        return ClusteredShare(0, 0, 0.0, 0)
    p = float(good.sum()) / total
    rarer = total * min(p, 1 - p)
    largest = float(all_ @ all_) / total  # design effect if trials of a cluster always agree
    effect = 0.0
    if rarer > 0 and clusters > 1:
        residual = good - p * all_
        effect = float(residual @ residual) * clusters / (clusters - 1) / (total * p * (1 - p))
    effect = max(1.0, (rarer * effect + largest) / (rarer + 1))
    return ClusteredShare(round(float(good.sum())), round(total), total / effect, clusters)


def wilson(share: Share, level: float = LEVEL) -> Interval:
    """Return the Wilson score interval (JASA 22, 1927).

    0 to 1 if ``total`` is 0, or all trials are in one cluster.

    Args:
        share: proportion of independent or of clustered trials.
        level: the confidence level, 0..1.
    """
    if not share.total:
        return Interval(0.0, 1.0)
    n, p, z = float(share.total), share.value, _z(level)
    if isinstance(share, ClusteredShare):
        if share.clusters < 2:
            return Interval(0.0, 1.0)
        n, z = share.effective, student_quantile(level, share.clusters - 1)
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


def zero_events(exposure: float, level: float = LEVEL) -> Interval:
    """Return the exact Poisson interval of a rate with zero events (Garwood, Biometrika 28, 1936).

    Args:
        exposure: denominator of the rate, such as images; above 0.
        level: the confidence level, 0..1, two-sided.
    """
    return Interval(0.0, -math.log((1 - level) / 2) / exposure)


def paired_interval(differences: npt.ArrayLike, level: float = LEVEL) -> Interval:
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


def iter_resamples(
    clusters: int, draws: int = DRAWS, seed: int = 0, width: int = 0
) -> Iterator[npt.NDArray[np.int64]]:
    """Draw clusters with replacement.

    Args:
        clusters: number of clusters, C, at least 1.
        draws: number of resamples.
        seed: random seed.
        width: values that the caller computes per resample; bounds the memory.

    Yields:
        How often each cluster is drawn, in blocks of shape (some, C); the blocks depend on
        ``width``, their rows do not.
    """
    random = np.random.default_rng(seed)
    rows = max(1, _CELLS // max(clusters, width))
    for start in range(0, draws, rows):
        some = min(rows, draws - start)
        drawn = random.integers(0, clusters, size=(some, clusters))
        drawn += np.arange(some)[:, None] * clusters
        yield np.bincount(drawn.ravel(), minlength=some * clusters).reshape(some, clusters)


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
    ratios: list[Floats] = []
    for times in iter_resamples(len(above), draws, seed):
        top, bottom = times @ above, times @ below
        ratios.append(np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0))
    return np.concatenate(ratios)


def percentiles(
    samples: npt.ArrayLike, level: float = LEVEL, clusters: int | None = None
) -> Interval | None:
    """Return the bootstrap percentile interval; NaN is ignored.

    Args:
        samples: one value per resample.
        level: the confidence level, 0..1.
        clusters: number of resampled clusters. With few, the interval is too narrow, and its
            percentiles are moved outwards by Student's t (Hesterberg, *What Teachers Should Know
            About the Bootstrap*, The American Statistician 69, 2015, 3.4); None for many.

    Returns:
        None if more than a tenth of the values is NaN or all values are equal: the
        data are then too few or too uniform for a bootstrap.
    """
    values = np.asarray(samples, dtype=np.float64)
    known = values[np.isfinite(values)]
    if not len(known) or len(known) < 0.9 * len(values) or np.ptp(known) < 1e-12:
        return None
    tail = (1 - level) / 2 if clusters is None else widened_tail(clusters, level)
    low, high = np.quantile(known, [tail, 1 - tail])
    return Interval(float(low), float(high))


def widened_tail(clusters: int, level: float = LEVEL) -> float:
    """Return the lower percentile, 0..0.5, of an interval widened for few clusters."""
    if clusters < 2:
        return 0.0
    wide = math.sqrt(clusters / (clusters - 1)) * student_quantile(level, clusters - 1)
    return NormalDist().cdf(-wide)


def max_t_interval(
    samples: Floats, estimates: Floats, pair: tuple[int, int], clusters: int
) -> Interval | None:
    """Return a bootstrap interval of a difference that holds for all pairs of columns.

    The critical value is the quantile of the largest studentized deviation over all pairs
    (max-t; Romano and Wolf, *Econometrica* 73, 2005), so that the interval is valid for a pair
    that was selected after looking.

    Args:
        samples: resampled values of G columns, shape (draws, G); may have NaN.
        estimates: observed values, shape (G,).
        pair: the columns of the difference.
        clusters: number of resampled clusters; see `percentiles`.

    Returns:
        None if the pair does not vary.
    """
    deviations = samples - estimates
    largest = np.zeros(len(samples))
    standard_errors: dict[tuple[int, int], float] = {}
    for one in range(len(estimates) - 1):
        differences = deviations[:, one + 1 :] - deviations[:, one, None]
        known = np.isfinite(differences)
        size = np.abs(np.where(known, differences, 0.0))
        counts = np.maximum(known.sum(axis=0), 1)
        errors = np.sqrt((size**2).sum(axis=0) / counts)
        ratio = np.divide(size, errors, out=np.zeros_like(size), where=errors > 1e-12)
        largest = np.maximum(largest, ratio.max(axis=1))
        standard_errors |= {(one, one + 1 + at): float(each) for at, each in enumerate(errors)}
    half = standard_errors[min(pair), max(pair)]
    if half <= 1e-12:
        return None
    wider = math.sqrt(clusters / max(clusters - 1, 1)) * student_quantile(LEVEL, clusters - 1)
    half *= float(np.quantile(largest, LEVEL)) * wider / _z(LEVEL)
    difference = float(estimates[pair[0]] - estimates[pair[1]])
    return Interval(max(-1.0, difference - half), min(1.0, difference + half))


@lru_cache(maxsize=4096)
def student_quantile(level: float, df: int) -> float:
    """Return the two-sided quantile of Student's t; infinite without degrees of freedom.

    Args:
        level: probability between minus and plus the quantile, 0..1.
        df: degrees of freedom.
    """
    if df < 1:
        return math.inf
    z = _z(level)
    if df > 200:  # Cornish-Fisher expansion (Abramowitz and Stegun, 26.7.5)
        return z + (z**3 + z) / (4 * df) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    low, high = z, 2 * z
    while _student_probability(high, df) < level:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        if _student_probability(middle, df) < level:
            low = middle
        else:
            high = middle
    return high


def _student_probability(t: float, df: int) -> float:
    """P(|T| <= t) for integer degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(df))
    cosine, odd = math.cos(angle), df % 2
    term, total = (cosine if odd else 1.0), 0.0
    for power in range(2 + odd, df + 1, 2):
        total += term
        term *= cosine * cosine * (power - 1) / power
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)
