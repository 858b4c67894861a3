"""Allocations by the integer program: the largest subset, the fewest copies, label removal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from curate.balance.contingency import Bools, Ints
from curate.balance.correct import proportional
from curate.balance.correct.goal import Allocation, Goal
from curate.balance.correct.integer_program import Search, Solution, solve
from curate.balance.correct.strata import Strata, Stratum, collect_strata
from curate.core.entries import SHORTAGE, SURPLUS


def subset(strata: Strata, goal: Goal, seed: int = 0, label: str | None = None) -> Allocation:
    """The largest subset that meets a target, as proportional as its size allows.

    Args:
        strata: the records.
        goal: targets, tolerance, and minimum per label.
        seed: random seed of the rounding.
        label: name of the column of labels, or None.

    Raises:
        DataError: if none meets it; names the cells that are too small.
    """
    pools, index = _pool(strata, goal)
    limits = Search(
        np.zeros_like(pools.counts), pools.counts, largest=True, seed=seed,
        label=label if goal.within or goal.min_per_label else None,
    )  # fmt: skip
    found = solve(pools, goal, limits)
    kept = _split(found.counts, strata, index, seed)
    return Allocation(
        kept=kept,
        added=np.zeros_like(strata.counts),
        weights=np.ones(len(strata)),
        why=_reasons(strata.counts > kept, SURPLUS),
        gap=found.gap,
        notes=_notes(found),
    )


def oversample(strata: Strata, goal: Goal, seed: int = 0, label: str | None = None) -> Allocation:
    """The fewest copies to add, none of a record more than allowed, to meet a target.

    Args:
        strata: the records.
        goal: targets, tolerance, and maximum copies.
        seed: random seed of the rounding.
        label: name of the column of labels, or None.

    Raises:
        DataError: if it cannot be met; names the cells that are too small.
    """
    pools, index = _pool(strata, goal)
    limits = Search(
        pools.counts, pools.counts * goal.max_copies, largest=False, times=goal.max_copies,
        seed=seed, label=label if goal.within or goal.min_per_label else None,
    )  # fmt: skip
    found = solve(pools, goal, limits)
    total = _split(found.counts, strata, index, seed)
    return Allocation(
        kept=strata.counts,
        added=total - strata.counts,
        weights=np.ones(len(strata)),
        why=_reasons(total > strata.counts, SHORTAGE),
        gap=found.gap,
        notes=_notes(found),
    )


def _pool(strata: Strata, goal: Goal) -> tuple[Strata, Ints]:
    """Strata without labels, unless targets are within labels; and the pool of each stratum."""
    if goal.within or goal.min_per_label:
        return strata, np.arange(len(strata))
    counted: dict[Stratum, int] = {}
    for people, count in zip(strata.people, strata.counts.tolist(), strict=True):
        counted[(people, ())] = counted.get((people, ()), 0) + count
    pools = collect_strata(strata.attributes, counted)
    positions = {people: position for position, people in enumerate(pools.people)}
    return pools, np.array([positions[people] for people in strata.people], dtype=np.int64)


def _split(totals: Ints, strata: Strata, pools: Ints, seed: int) -> Ints:
    return proportional.split_counts(totals, strata.counts, pools, np.random.default_rng([seed, 1]))


def _notes(found: Solution) -> tuple[str, ...]:
    if found.is_proportional:
        return ()
    return (
        "No proportional allocation of this size was found; attributes and "
        "labels may have become associated. See the associations in the report.",
    )


def remove_labels(strata: Strata, unwanted: Mapping[str, str]) -> Allocation:
    """Remove every record with a removed label.

    Args:
        strata: the records.
        unwanted: the reason for each removed label.
    """
    why = tuple(
        next((f"{name}: {unwanted[name]}" for name in labels if name in unwanted), None)
        for labels in strata.labels
    )
    stays = np.array([reason is None for reason in why], dtype=np.bool_)
    return Allocation(
        kept=np.where(stays, strata.counts, 0),
        added=np.zeros_like(strata.counts),
        weights=np.ones(len(strata)),
        why=why,
    )


def _reasons(changed: Bools, reason: str) -> tuple[str | None, ...]:
    return tuple(reason if each else None for each in changed)
