"""Differences of base rates adjusted for a second attribute, and Simpson's reversals.

The crude difference of a group is its rate minus the rate of all other groups, or of a stated
reference group. The adjusted one
is the Mantel-Haenszel risk difference over the strata of another attribute, with weights n₁n₀/(n₁
+ n₀) per stratum (Mantel and Haenszel, JNCI 22, 1959; Greenland and Robins, Biometrics 41, 1985).
Its interval is the union of the stratified Newcombe interval, which combines Wilson limits per
stratum (Yan and Su, Stat. Biopharm. Res. 2, 2010) and holds for rates near 0 and 1, and of the
Wald interval with the variance of Sato (Biometrics 45, 1989), which holds for many small strata.
Heterogeneity of the odds ratios between strata is tested after Breslow and Day with Tarone's
correction (Breslow, Stat. Med. 15, 1996).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Literal

import numpy as np
from scipy.special import chdtrc

from curate.balance.contingency import Ints
from curate.core.intervals import LEVEL, Floats, Interval, Share, hull, newcombe, wilson

_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)

Kind = Literal["same", "reversed", "vanished", "emerged"]
"""How an adjusted difference compares with the crude one."""


@dataclass(frozen=True, slots=True)
class Reversal:
    """Two groups whose difference in rates has the opposite sign within every stratum.

    Args:
        label: the label.
        attribute: the attribute of the two groups.
        groups: the two.
        within: the stratifying attribute.
        difference: crude difference, the first group's rate minus the second's.
        interval: 95 % Newcombe interval.
        adjusted: Mantel-Haenszel pooled difference.
        adjusted_interval: 95 % interval (Greenland and Robins, Biometrics 41, 1985).
        parts: the difference in each stratum with both groups.
    """

    label: str
    attribute: str
    groups: tuple[str, str]
    within: str
    difference: float
    interval: Interval
    adjusted: float
    adjusted_interval: Interval
    parts: dict[str, float]


@dataclass(frozen=True, slots=True)
class Crossing:
    """Counts of a label in G groups by S strata.

    Args:
        label: the label.
        attribute: the attribute whose groups are compared.
        groups: G names.
        within: the stratifying attribute.
        parts: S names of strata.
        hits: units with the label, int64, shape (G, S).
        sizes: units, int64, shape (G, S).
        reference: the stated reference group; None for all others.
    """

    label: str
    attribute: str
    groups: Sequence[str]
    within: str
    parts: Sequence[str]
    hits: Ints
    sizes: Ints
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Adjusted:
    """A difference of rates between a group and its reference, crude and adjusted.

    Args:
        label: the label.
        attribute: the attribute of the group.
        group: its value.
        stratum: the stratifying attribute.
        crude: the group's rate minus that of all others, or of the stated reference group.
        crude_interval: 95 % Newcombe interval.
        adjusted: Mantel-Haenszel difference over the strata with both.
        adjusted_interval: 95 % interval; see the module.
        heterogeneity_p: p-value of the Breslow-Day-Tarone test; None with fewer than two
            informative strata.
        kind: ``reversed`` if the signs differ, and both intervals exclude 0, or neither does and
            each excludes the other difference; ``vanished`` if only the crude interval excludes 0,
            and ``emerged`` if only the adjusted one does, and the crude difference is outside the
            adjusted interval; ``same`` otherwise.
    """

    label: str
    attribute: str
    group: str
    stratum: str
    crude: float
    crude_interval: Interval
    adjusted: float
    adjusted_interval: Interval
    heterogeneity_p: float | None
    kind: Kind


def adjust(crossing: Crossing) -> Iterator[Adjusted]:
    """Adjust the difference between each group and its reference.

    Groups without overlap are skipped, and so is the reference group.

    Args:
        crossing: counts without missing values.
    """
    for position, group in enumerate(crossing.groups):
        rest = np.array(
            [
                each == crossing.reference if crossing.reference is not None else each != group
                for each in crossing.groups
            ]
        )
        if rest[position]:
            continue
        hits, sizes = (
            np.stack([each[position], each[rest].sum(axis=0)])
            for each in (crossing.hits, crossing.sizes)
        )
        both = (sizes > 0).all(axis=0)
        if not both.any():
            continue
        first = Share(int(hits[0].sum()), int(sizes[0].sum()))
        second = Share(int(hits[1].sum()), int(sizes[1].sum()))
        around = newcombe(first, second)
        adjusted, interval = pool_differences(hits[:, both], sizes[:, both])
        crude = first.value - second.value
        yield Adjusted(
            label=crossing.label,
            attribute=crossing.attribute,
            group=group,
            stratum=crossing.within,
            crude=crude,
            crude_interval=around,
            adjusted=adjusted,
            adjusted_interval=interval,
            heterogeneity_p=breslow_day(hits[:, both], sizes[:, both]),
            kind=_compare(crude, around, adjusted, interval),
        )


def _compare(crude: float, around: Interval, adjusted: float, interval: Interval) -> Kind:
    differs = not interval.low <= crude <= interval.high
    if _touches(around) == _touches(interval):
        apart = differs and not around.low <= adjusted <= around.high
        reversed_ = crude * adjusted < 0 and (apart or not _touches(around))
        return "reversed" if reversed_ else "same"
    if differs and not _touches(around):
        return "vanished"
    if differs and not _touches(interval):
        return "emerged"
    return "same"


def pool_differences(hits: Ints, sizes: Ints) -> tuple[float, Interval]:
    """Mantel-Haenszel risk difference with its 95 % interval.

    Args:
        hits: units with the label, int64, shape (2, S).
        sizes: units, int64, shape (2, S), all above 0.
    """
    n, m = sizes.astype(np.float64)
    weights = n * m / (n + m)
    weights /= weights.sum()
    first, second = hits / sizes
    limits = np.array(
        [
            [wilson(Share(int(x), int(k))) for x, k in zip(row, total, strict=True)]
            for row, total in zip(hits, sizes, strict=True)
        ]
    )
    low, high = limits[..., 0], limits[..., 1]
    difference = float(weights @ (first - second))
    margin = _Z * math.sqrt(max(0.0, _sato_variance(hits, sizes, difference)))
    sparse = Interval(difference - margin, difference + margin)
    below = weights**2 @ ((first - low[0]) ** 2 + (high[1] - second) ** 2)
    above = weights**2 @ ((high[0] - first) ** 2 + (second - low[1]) ** 2)
    small = Interval(difference - math.sqrt(float(below)), difference + math.sqrt(float(above)))
    joined = hull(small, sparse)
    return difference, Interval(max(-1.0, joined.low), min(1.0, joined.high))


def _sato_variance(hits: Ints, sizes: Ints, difference: float) -> float:
    """Variance of the Mantel-Haenszel difference (Sato, Biometrics 45, 1989)."""
    (a, b), (n, m) = hits.astype(np.float64), sizes.astype(np.float64)
    total = n + m
    linear = (n**2 * b - m**2 * a + n * m * (m - n) / 2) / total**2
    constant = (a * (m - b) + b * (n - a)) / (2 * total)
    scale = float((n * m / total).sum())
    return (difference * float(linear.sum()) + float(constant.sum())) / scale**2


def breslow_day(hits: Ints, sizes: Ints) -> float | None:
    """p-value of the Breslow-Day test of equal odds ratios, with Tarone's correction.

    Args:
        hits: units with the label, int64, shape (2, S).
        sizes: units, int64, shape (2, S).
    """
    margin, total = hits.sum(axis=0), sizes.sum(axis=0)
    informative = (margin > 0) & (margin < total) & (sizes > 0).all(axis=0)
    if informative.sum() < 2:
        return None
    (a, b), (n, m) = hits[:, informative].astype(float), sizes[:, informative].astype(float)
    over, under = float((a * (m - b) / (n + m)).sum()), float((b * (n - a) / (n + m)).sum())
    if not over or not under:
        return None
    expected = _expect(a + b, n, m, over / under)
    variance = 1 / (
        1 / expected + 1 / (n - expected) + 1 / (a + b - expected)
        + 1 / (m - a - b + expected)
    )  # fmt: skip
    excess = a - expected
    chi2 = float((excess**2 / variance).sum()) - float(excess.sum()) ** 2 / float(variance.sum())
    return float(chdtrc(len(a) - 1, max(0.0, chi2)))


def _expect(margin: Floats, n: Floats, m: Floats, ratio: float) -> Floats:
    """Expected count of the first cell per stratum under a common odds ratio."""
    if abs(ratio - 1) < 1e-9:
        return margin * n / (n + m)
    linear = m - margin + ratio * (n + margin)
    root = np.sqrt(linear**2 - 4 * (ratio - 1) * ratio * n * margin)
    found: Floats = (linear - root) / (2 * (ratio - 1))
    return found


def find_reversals(crossing: Crossing) -> Iterator[Reversal]:
    """Find significant reversals: both intervals exclude 0, on opposite sides."""
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    for one, other in combinations(range(len(crossing.groups)), 2):
        both = (crossing.sizes[one] > 0) & (crossing.sizes[other] > 0)
        if both.sum() < 2:
            continue
        hits = crossing.hits[[one, other]][:, both].astype(np.float64)
        sizes = crossing.sizes[[one, other]][:, both].astype(np.float64)
        within = hits[0] / sizes[0] - hits[1] / sizes[1]
        first, second = _whole(crossing, one), _whole(crossing, other)
        difference = first.value - second.value
        if not (within * difference < 0).all():
            continue
        adjusted, error = _mantel_haenszel(hits, sizes)
        interval = newcombe(first, second)
        around = Interval(adjusted - z * error, adjusted + z * error)
        if _touches(interval) or _touches(around):
            continue
        names = [name for name, is_in in zip(crossing.parts, both, strict=True) if is_in]
        yield Reversal(
            label=crossing.label,
            attribute=crossing.attribute,
            groups=(crossing.groups[one], crossing.groups[other]),
            within=crossing.within,
            difference=difference,
            interval=interval,
            adjusted=adjusted,
            adjusted_interval=around,
            parts=dict(zip(names, within.tolist(), strict=True)),
        )


def _whole(crossing: Crossing, group: int) -> Share:
    return Share(int(crossing.hits[group].sum()), int(crossing.sizes[group].sum()))


def _touches(interval: Interval) -> bool:
    return interval.low <= 0 <= interval.high


def _mantel_haenszel(hits: Floats, sizes: Floats) -> tuple[float, float]:
    """Pooled risk difference and its standard error."""
    (a, b), (n, m) = hits, sizes
    weight = n * m / (n + m)
    pooled = float((weight * (a / n - b / m)).sum() / weight.sum())
    spread = (a * (n - a) * m**3 + b * (m - b) * n**3) / (n * m * (n + m) ** 2)
    return pooled, math.sqrt(float(spread.sum())) / float(weight.sum())
