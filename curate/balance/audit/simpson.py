"""Simpson's reversals: a difference between two groups that changes sign in every stratum."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np

from curate.balance.contingency import Ints
from curate.core.intervals import LEVEL, Floats, Interval, Share, newcombe


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
    """

    label: str
    attribute: str
    groups: Sequence[str]
    within: str
    parts: Sequence[str]
    hits: Ints
    sizes: Ints


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
