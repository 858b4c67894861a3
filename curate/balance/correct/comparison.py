"""Shares, associations and base rates before and after a correction.

Bias amplification of the corrected against the original dataset (negative: less bias):

- Zhao et al., *Men also like shopping* (EMNLP 2017): increase of the share of majority
  groups, averaged over all labels, including those without a majority group;
- Wang and Russakovsky, *Directional bias amplification* (ICML 2021), attribute to label:
  change of P(label | group) in the direction of the original difference from P(label),
  averaged over all pairs. Pairs without a difference contribute 0 here; the paper's
  formula treats them as negative ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.balance.audit.representation import Group
from curate.balance.contingency import Columns
from curate.balance.correct.goal import Allocation, Goal
from curate.balance.correct.strata import Strata, find_members
from curate.core.intervals import Floats


@dataclass(frozen=True, slots=True, eq=False)
class Masses:
    """Total weight of L labels by G groups before and after.

    Args:
        labels: the labels; the first is None, for all records.
        groups: the groups with a target.
        target: target shares, float64, shape (G,).
        before: float64, shape (L, G).
        after: float64, shape (L, G).
    """

    labels: tuple[str | None, ...]
    groups: tuple[Group, ...]
    target: Floats
    before: Floats
    after: Floats


@dataclass(frozen=True, slots=True)
class Amplification:
    """Bias amplification; negative for less bias.

    Args:
        majority: Zhao et al.; None if undefined.
        directional: Wang and Russakovsky; None if undefined.
    """

    majority: float | None
    directional: float | None


@dataclass(frozen=True, slots=True)
class Distances:
    """Distances from the target and from independence of groups and labels.

    Args:
        total_variation: of all records from the target, 0..1.
        worst: the largest total variation over labels, 0..1; None without labels.
        worst_label: the label with the largest total variation.
        association: Cramér's V of labels and groups, 0..1; None without labels.
        rate_gap: largest difference of a label's rate between two groups, 0..1; None
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
        masses: total weight of each label and group.
        before: distances before.
        after: distances after.
        amplification: None without labels.
    """

    columns: Columns
    masses: Masses
    before: Distances
    after: Distances
    amplification: Amplification | None


def compare(strata: Strata, correction: Allocation, goal: Goal) -> tuple[Comparison, ...]:
    """Compare the dataset before and after, one result per grouping."""
    return tuple(
        _compare(columns, _masses(strata, correction, columns, target))
        for columns, target in goal.targets.items()
    )


def _masses(
    strata: Strata, correction: Allocation, columns: Columns, target: Mapping[Group, float]
) -> Masses:
    members = find_members(strata, columns, list(target))
    labels: list[str | None] = [None, *strata.names()]
    before, after = np.zeros((2, len(labels), len(target)))
    was, is_now = strata.counts.astype(np.float64), correction.mass
    row = {label: number for number, label in enumerate(labels)}
    before[0], after[0] = was @ members.people, is_now @ members.people
    for position, named in enumerate(strata.labels):
        for name in named:
            if name in row:
                before[row[name]] += was[position] * members.people[position]
                after[row[name]] += is_now[position] * members.people[position]
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
    position = int(np.argmax(each))
    gap = _rate_gap(_rates(mass))
    return Distances(whole, each[position], masses.labels[position + 1], cramers_v(mass[1:]), gap)


def _rate_gap(rates: Floats) -> float:
    known = rates[:, np.isfinite(rates).all(axis=0)]
    return float(np.ptp(known, axis=1).max()) if known.size else 0.0


def total_variation(mass: Floats, target: Floats) -> float:
    """Total variation distance of shares from a target, 0..1; 0 if empty.

    Args:
        mass: total weight of each group, shape (G,).
        target: target shares, shape (G,).
    """
    total = mass.sum()
    return float(np.abs(mass / total - target).sum() / 2) if total else 0.0


def cramers_v(mass: Floats) -> float:
    """Cramér's V of a contingency table, shape (L, G); 0 for independence."""
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
        before: total weights, shape (L, G), the first row for all records.
        after: the same after the correction.
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
    """P(label | group), shape (L - 1, G); NaN for empty groups."""
    sizes = np.broadcast_to(mass[0], mass[1:].shape)
    rates = np.full_like(mass[1:], np.nan)
    np.divide(mass[1:], sizes, out=rates, where=sizes > 0)
    return rates
