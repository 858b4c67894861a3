"""Intervals around shares, their differences and means over clusters; numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LEVEL = 0.95
"""Confidence level where none is stated."""

DRAWS = 2000
"""Resamples of a bootstrap where none are stated."""

Floats = npt.NDArray[np.float64]

_CELLS = 4_000_000  # drawn at once, so that memory stays small whatever the data


class Interval(NamedTuple):
    """Both ends belong to it."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """``hits`` of ``total`` independent trials."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        """The share, 0..1; NaN of nothing."""
        return self.hits / self.total if self.total else math.nan

    @property
    def interval(self) -> Interval:
        """Wilson's score interval at 95 %; 0 to 1 of nothing."""
        return wilson(self)


def wilson(share: Share, level: float = LEVEL) -> Interval:
    """Score interval of a share (Wilson, JASA 22, 1927); 0 to 1 of nothing.

    Args:
        share: of independent trials; faces in one photo are not quite that.
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
    """Interval of ``a`` minus ``b``, two independent shares; -1 to 1 if one is of nothing.

    Method 10 of Newcombe, *Interval estimation for the difference between
    independent proportions* (Statistics in Medicine 17, 1998): the two Wilson
    intervals joined by squares and added.
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
    """The smallest interval that holds both; the first alone where there is no other.

    Wilson's and Newcombe's are right for few trials and too narrow for trials that hang
    together; a bootstrap is the other way round, and at a share of 0 or 1 it sees no
    spread at all. Whoever shows one interval does well to show the hull.
    """
    if other is None:
        return interval
    return Interval(min(interval.low, other.low), max(interval.high, other.high))


def none_seen(exposure: float, level: float = LEVEL) -> Interval:
    """Interval of a rate of which no event was seen (Garwood, Biometrika 28, 1936).

    Args:
        exposure: what the rate is counted per, such as images; above 0.
        level: the confidence level, 0..1, shared between both sides.
    """
    return Interval(0.0, -math.log((1 - level) / 2) / exposure)


def paired(differences: npt.ArrayLike, level: float = LEVEL) -> Interval:
    """Interval of the mean of paired differences of hits; -1 to 1 of nothing.

    Two pairs are added, one that gained and one that lost, so that it says something
    where no pair changed (Bonett and Price, *Adjusted Wald confidence interval for a
    difference of binomial proportions based on paired data*, JEBS 37, 2012). Theirs is
    of differences -1, 0 and 1; means over several trials of a pair lie between.

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
    """Ratios of sums over clusters drawn anew with replacement: the cluster bootstrap.

    What hangs together inside a cluster stays together, so that the spread of the
    ratios counts it in (Davison and Hinkley, *Bootstrap Methods*, 1997, 3.8). All
    columns share the drawn clusters: their differences can be taken row by row.

    Args:
        counts: C×K, what is counted in each cluster; C at least 1.
        totals: C×K, what it is divided by.
        draws: how many resamples.
        seed: the same seed gives the same ratios.

    Returns:
        draws×K float64; NaN where a resample's total is 0.
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
    """The middle ``level`` of resampled values; NaN is left out.

    Returns:
        None where more than a tenth of the values is NaN or all are one value: the
        data are then too few, or too much alike, for a bootstrap to say anything.
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
