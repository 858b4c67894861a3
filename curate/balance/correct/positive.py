"""More positively labelled records of the groups that have the label more rarely.

Where a group is scarce and its label was given more rarely than it should have been,
adding records of the group at random makes it larger and leaves its rate as it is.
Adding positively labelled ones raises both.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from curate.balance.audit.shares import spell
from curate.balance.cells import Ints
from curate.balance.correct.goal import Correction, Goal
from curate.balance.correct.kinds import Kinds, find_members
from curate.core.errors import DataError, UsageError
from curate.core.intervals import Floats

Rate = Literal["highest", "overall"] | float
"""The base rate to reach: that of the highest group, of all together, or a number, 0..1."""


def add_positives(kinds: Kinds, goal: Goal, positive: str, rate: Rate) -> Correction:
    """The fewest positives to make so that no group's base rate is below a target.

    A group with p positives of n needs k more where (p + k) / (n + k) reaches the rate r,
    less the tolerance: k = (r·n - p) / (1 - r), rounded up. They are made from its
    positives evenly. Who has no value of an attribute is left as it is.

    Args:
        kinds: the records, each counting once.
        goal: its one grouping, the tolerance, and how often a record may come.
        positive: the label that is looked at.
        rate: what to reach.

    Raises:
        UsageError: if people are counted, not records, or there are several groupings.
        DataError: if a group has too few positives, or the rate cannot be reached.
    """
    if not kinds.are_single:
        raise UsageError("augment-positive counts records; drop --per person")
    if len(goal.targets) != 1:
        raise UsageError("augment-positive takes one --by; cross attributes as in --by a,b")
    [(columns, target)] = goal.targets.items()
    members = find_members(kinds, columns, list(target))
    is_positive = np.array([positive in labels for labels in kinds.labels])
    sizes = kinds.counts @ members.people
    hits = (kinds.counts * is_positive) @ members.people
    if not hits.sum():
        raise DataError(f"no record of a known group has the label {positive!r}")
    wanted = _rate(hits, sizes, rate) - goal.tolerance
    made = np.zeros_like(kinds.counts)
    why: list[str | None] = [None] * len(kinds)
    for place, group in enumerate(members.groups):
        more = _needed(int(hits[place]), int(sizes[place]), wanted)
        if not more:
            continue
        _check(more, int(hits[place]), goal, f"{spell(group)} with {positive}")
        own = is_positive & (members.people[:, place] > 0)
        made[own] = _deal(kinds.counts[own], more)
        for each in np.flatnonzero(own).tolist():
            why[each] = f"{spell(group)} has {positive} more rarely than the target"
    return Correction(kinds.counts, made, np.ones(len(kinds)), tuple(why))


def _rate(hits: Floats, sizes: Floats, rate: Rate) -> float:
    there = sizes > 0
    if rate == "highest":
        return float((hits[there] / sizes[there]).max())
    if rate == "overall":
        return float(hits.sum() / sizes.sum())
    return float(rate)


def _needed(hits: int, size: int, wanted: float) -> int:
    if not size or hits >= wanted * size - 1e-9:
        return 0
    if wanted >= 1:
        raise DataError("a base rate of 1 cannot be reached by adding records; lower --base-rate")
    return math.ceil((wanted * size - hits) / (1 - wanted) - 1e-9)


def _check(more: int, hits: int, goal: Goal, cell: str) -> None:
    most = hits * (goal.most_copies - 1)
    if more > most:
        raise DataError(
            f"{cell}: {more:,} more records are needed, and {hits:,} can give {most:,} at most; "
            "raise --most-copies or --tolerance, or collect more"
        )


def _deal(counts: Ints, more: int) -> Ints:
    """Share out as evenly as whole numbers allow; larger remainders first, then the order."""
    exact = counts * more / counts.sum()
    dealt: Ints = np.floor(exact + 1e-9).astype(np.int64)
    left = more - int(dealt.sum())
    first = np.argsort(-(exact - dealt), kind="stable")[:left]
    dealt[first] += 1
    return dealt
