"""What a correction changed: shares, associations and base rates, before and after.

Bias amplification is told in the two ways of the field, of the corrected dataset against
the one it was made from (negative is less bias than before):

- Zhao et al., *Men also like shopping* (EMNLP 2017): how much larger the share of its
  majority groups has become, averaged over all labels, those without a majority too;
- Wang and Russakovsky, *Directional bias amplification* (ICML 2021), group to label: how
  much further the rate of each label in each group has moved in the direction in which it
  was off, averaged over all pairs. A pair that was not off at all counts nothing here;
  the paper's formula takes it for one that was too rare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.balance.audit.representation import Group
from curate.balance.contingency import Columns
from curate.balance.correct.goal import Correction, Goal
from curate.balance.correct.strata import Kinds, find_members
from curate.core.intervals import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Masses:
    """How much there is of each label and group.

    Args:
        labels: L; the first is None, for everything.
        groups: G, those with a target.
        target: G, the share that each should have.
        before: L×G.
        after: L×G.
    """

    labels: tuple[str | None, ...]
    groups: tuple[Group, ...]
    target: Floats
    before: Floats
    after: Floats


@dataclass(frozen=True, slots=True)
class Amplification:
    """How much bias there is more; negative for less.

    Args:
        majority: after Zhao et al.; None where there is nothing to average.
        directional: after Wang and Russakovsky; None where there is nothing to average.
    """

    majority: float | None
    directional: float | None


@dataclass(frozen=True, slots=True)
class Distances:
    """How far groups are from their target, and from independence of the label.

    Args:
        total_variation: of all records, 0..1.
        worst: the largest total variation of a label, 0..1; None without labels.
        worst_label: which label has it.
        association: Cramér's V of labels and groups, 0..1; None without labels.
        rate_gap: the largest difference of a label's rate between two groups, 0..1; None
            without labels.
    """

    total_variation: float
    worst: float | None
    worst_label: str | None
    association: float | None
    rate_gap: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One grouping before and after.

    Args:
        columns: the attributes.
        masses: how much there is of each label and group.
        before: distances before.
        after: distances after.
        amplification: None without labels.
    """

    columns: Columns
    masses: Masses
    before: Distances
    after: Distances
    amplification: Amplification | None


def compare(kinds: Kinds, correction: Correction, goal: Goal) -> tuple[Comparison, ...]:
    """Compare a dataset with what a correction makes of it, one answer for each grouping."""
    return tuple(
        _compare(columns, _masses(kinds, correction, columns, target))
        for columns, target in goal.targets.items()
    )


def _masses(
    kinds: Kinds, correction: Correction, columns: Columns, target: Mapping[Group, float]
) -> Masses:
    members = find_members(kinds, columns, list(target))
    labels: list[str | None] = [None, *kinds.names()]
    before, after = np.zeros((2, len(labels), len(target)))
    was, is_now = kinds.counts.astype(np.float64), correction.mass
    row = {label: number for number, label in enumerate(labels)}
    before[0], after[0] = was @ members.people, is_now @ members.people
    for place, named in enumerate(kinds.labels):
        for name in named:
            if name in row:
                before[row[name]] += was[place] * members.people[place]
                after[row[name]] += is_now[place] * members.people[place]
    shares = np.array(list(target.values()))
    return Masses(tuple(labels), members.groups, shares, before, after)


def _compare(columns: Columns, masses: Masses) -> Comparison:
    has_labels = len(masses.labels) > 1
    return Comparison(
        columns,
        masses,
        _measure(masses.before, masses),
        _measure(masses.after, masses),
        amplify(masses.before, masses.after) if has_labels else None,
    )


def _measure(mass: Floats, masses: Masses) -> Distances:
    whole = total_variation(mass[0], masses.target)
    if len(masses.labels) == 1:
        return Distances(whole, None, None, None, None)
    each = [total_variation(row, masses.target) for row in mass[1:]]
    place = int(np.argmax(each))
    gap = _rate_gap(_rates(mass))
    return Distances(whole, each[place], masses.labels[place + 1], cramers_v(mass[1:]), gap)


def _rate_gap(rates: Floats) -> float:
    known = rates[:, np.isfinite(rates).all(axis=0)]
    return float(np.ptp(known, axis=1).max()) if known.size else 0.0


def total_variation(mass: Floats, target: Floats) -> float:
    """Half the sum of the differences between shares and target, 0..1; 0 of nothing.

    Args:
        mass: G, how much there is of each group.
        target: G, the share that each should have.
    """
    total = mass.sum()
    return float(np.abs(mass / total - target).sum() / 2) if total else 0.0


def cramers_v(mass: Floats) -> float:
    """Cramér's V of a table of masses, L×G, 0 where rows and columns are independent."""
    table = mass[mass.sum(axis=1) > 0][:, mass.sum(axis=0) > 0]
    if min(table.shape) < 2:
        return 0.0
    shares = table / table.sum()
    expected = shares.sum(axis=1, keepdims=True) * shares.sum(axis=0, keepdims=True)
    phi = float(((shares - expected) ** 2 / expected).sum())
    return float(np.sqrt(phi / (min(table.shape) - 1)))


def amplify(before: Floats, after: Floats) -> Amplification:
    """Bias amplification.

    Args:
        before: L×G masses, the first row of everything.
        after: the same of the corrected dataset.
    """
    return Amplification(_majority(before[1:], after[1:]), _directional(before, after))


def _majority(before: Floats, after: Floats) -> float | None:
    sums_before, sums_after = before.sum(axis=1), after.sum(axis=1)
    there = (sums_before > 0) & (sums_after > 0)
    was = before[there] / sums_before[there, None]
    is_now = after[there] / sums_after[there, None]
    is_majority = was > 1 / before.shape[1]
    if not is_majority.any():
        return None
    return float(np.where(is_majority, is_now - was, 0.0).sum(axis=1).mean())


def _directional(before: Floats, after: Floats) -> float | None:
    was, is_now = _rates(before), _rates(after)
    total = before[0].sum()
    if not total:
        return None
    rate = before[1:].sum(axis=1, keepdims=True) / total
    known = np.isfinite(was) & np.isfinite(is_now)
    moved = np.where(was > rate, is_now - was, np.where(was < rate, was - is_now, 0.0))
    return float(moved[known].mean()) if known.any() else None


def _rates(mass: Floats) -> Floats:
    """How often each group has each label, L×G; NaN of a group that nobody is of."""
    sizes = np.broadcast_to(mass[0], mass[1:].shape)
    rates = np.full_like(mass[1:], np.nan)
    np.divide(mass[1:], sizes, out=rates, where=sizes > 0)
    return rates
