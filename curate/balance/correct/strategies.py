"""The strategies: from the loaded records to an allocation and its comparison."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from curate.balance.audit.measure import Rules, Statistics, Targets, compute_statistics
from curate.balance.audit.representation import format_group
from curate.balance.census import Census, Plan, count
from curate.balance.contingency import Ints
from curate.balance.correct.allocation import oversample, remove_labels, subset
from curate.balance.correct.comparison import Comparison, compare
from curate.balance.correct.confounding import Confounding, measure_confounding
from curate.balance.correct.decisions import DecisionIndex
from curate.balance.correct.goal import Allocation, Goal, TargetSpec, resolve_targets
from curate.balance.correct.options import TOLERANCE, BalanceOptions
from curate.balance.correct.reweigh import reweigh
from curate.balance.correct.strata import LoadedRecords, Strata, find_members
from curate.balance.groups import Reading
from curate.core.errors import DataError, UsageError
from curate.core.intervals import Floats

Rate = Literal["highest", "overall"] | float
"""Target base rate: that of the highest group, of all records, or a number, 0..1."""


def add_positives(strata: Strata, goal: Goal, positive: str, rate: Rate) -> Allocation:
    """Add the fewest positives such that no group's base rate is below a target.

    A group with p positives of n needs k more so that (p + k) / (n + k) reaches the target
    r minus the tolerance: k = (r·n - p) / (1 - r), rounded up. They are copies of its
    positives, evenly. Records with a missing value are not changed.

    Args:
        strata: the records, each with one group.
        goal: one grouping, the tolerance, and the maximum copies.
        positive: the positive label.
        rate: the target base rate.

    Raises:
        UsageError: if people are counted instead of records, or there are several groupings.
        DataError: if a group has too few positives, or the rate cannot be reached.
    """
    if not strata.are_single:
        raise UsageError("augment-positive cannot be combined with --per person")
    if len(goal.targets) != 1:
        raise UsageError("augment-positive requires exactly one --by; cross attributes as --by a,b")
    [(columns, target)] = goal.targets.items()
    members = find_members(strata, columns, list(target))
    is_positive = np.array([positive in labels for labels in strata.labels])
    sizes = strata.counts @ members.people
    hits = (strata.counts * is_positive) @ members.people
    if not hits.sum():
        raise DataError(f"no record of a known group has the label {positive!r}")
    wanted = _rate(hits, sizes, rate) - goal.tolerance
    added = np.zeros_like(strata.counts)
    why: list[str | None] = [None] * len(strata)
    for position, group in enumerate(members.groups):
        more = _needed(int(hits[position]), int(sizes[position]), wanted)
        if not more:
            continue
        _check(more, int(hits[position]), goal, f"{format_group(group)} with {positive}")
        own = is_positive & (members.people[:, position] > 0)
        added[own] = _deal(strata.counts[own], more)
        for each in np.flatnonzero(own).tolist():
            why[each] = f"{format_group(group)} has {positive} more rarely than the target"
    return Allocation(strata.counts, added, np.ones(len(strata)), tuple(why))


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
    most = hits * (goal.max_copies - 1)
    if more > most:
        raise DataError(
            f"{cell}: {more:,} more records are needed, but {hits:,} allow at most {most:,} "
            "copies; raise --max-copies or --tolerance, or collect more"
        )


def _deal(counts: Ints, more: int) -> Ints:
    """Largest-remainder apportionment; ties by position."""
    exact = counts * more / counts.sum()
    dealt: Ints = np.floor(exact + 1e-9).astype(np.int64)
    left = more - int(dealt.sum())
    first = np.argsort(-(exact - dealt), kind="stable")[:left]
    dealt[first] += 1
    return dealt


_SHOWN = 4
_MEETING = frozenset(
    {"subset", "oversample", "augment"}
)  # strategies that solve the integer program


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """A decided correction.

    Args:
        correction: the allocation.
        comparisons: before and after, for every grouping.
        before: the audit before; None without attributes.
        after: the audit after; for weights, of as many records as the effective sample size.
        goal: the targets.
        confounding: side effects on associations, cells and base rates.
    """

    correction: Allocation
    comparisons: tuple[Comparison, ...]
    before: Statistics | None
    after: Statistics | None
    goal: Goal
    confounding: Confounding


def correct(
    loaded: LoadedRecords, options: BalanceOptions, wanted: TargetSpec, unwanted: Mapping[str, str]
) -> Corrected:
    """Apply a strategy.

    Args:
        loaded: the records.
        options: the strategy and its options.
        wanted: the target.
        unwanted: labels to remove, with reasons.

    Raises:
        DataError: if the target cannot be met or does not match the groups.
    """
    strata = loaded.strata
    if options.label is not None and not strata.names():
        raise DataError(f"no record has a value of {options.label}; omit --within and --label")
    targets = resolve_targets(strata, options.groupings, wanted) if options.groupings else {}
    tolerance = _tolerance(targets, options)
    goal = Goal(targets, options.within, tolerance, options.min_per_label, options.max_copies)
    correction = _STRATEGIES[options.strategy](strata, goal, options, unwanted)
    if not correction.kept.sum():
        raise DataError(_explain_nothing(strata, goal))
    confounding = measure_confounding(strata, correction, options.label)
    before = after = None
    if options.groupings:
        rules = Rules({} if isinstance(wanted, str) else wanted, seed=options.seed)
        if wanted == "observed":
            rules = replace(rules, targets=dict(targets))
        before = compute_statistics(_census(strata, strata.counts, options), rules)
        after = compute_statistics(
            _census(strata, _counts_after(correction, options), options), rules
        )
    return Corrected(
        correction, compare(strata, correction, goal), before, after, goal, confounding
    )


def _tolerance(targets: Targets, options: BalanceOptions) -> float:
    """The tolerance; it must be below the smallest target share, else that group could vanish.

    Raises:
        UsageError: if --tolerance is larger.
    """
    wanted = ((share, group) for target in targets.values() for group, share in target.items())
    smallest, group = min(((share, group) for share, group in wanted if share), default=(1.0, ()))
    if options.strategy not in _MEETING:
        return TOLERANCE if options.tolerance is None else options.tolerance
    if options.tolerance is None:
        return min(TOLERANCE, smallest / 10)
    if options.tolerance >= smallest:
        raise UsageError(
            f"--tolerance {options.tolerance:g} would allow removing {format_group(group)}, whose "
            f"target share is {smallest:.2g}; give a smaller one"
        )
    return options.tolerance


def _explain_nothing(strata: Strata, goal: Goal) -> str:
    """Why no record would be left."""
    absent: list[str] = []
    for columns, target in goal.targets.items():
        members = find_members(strata, columns, list(target))
        people = strata.counts @ members.people
        absent += [
            format_group(group)
            for group, share, there in zip(target, target.values(), people, strict=True)
            if share > goal.tolerance and not there
        ]
    if not absent:
        return "no record would be left; relax the target"
    more = f" and {len(absent) - _SHOWN:,} more" if len(absent) > _SHOWN else ""
    return (
        f"the target requires records of {', '.join(absent[:_SHOWN])}{more}, but there are none; "
        "use coarser groups, or give a --target TABLE with a share of 0 for them"
    )


def decide(loaded: LoadedRecords, corrected: Corrected, decisions: DecisionIndex) -> None:
    """Store the decision for every record."""
    strata = zip(loaded.strata.people, loaded.strata.labels, strict=True)
    decisions.decide(strata, corrected.correction)


def _counts_after(correction: Allocation, options: BalanceOptions) -> Ints:
    if options.strategy == "reweigh":
        return correction.effective_counts()
    return correction.kept + correction.added


def plan_audit(options: BalanceOptions) -> Plan:
    """What the audits before and after count."""
    return Plan(options.groupings, options.label, (), ())


def _census(strata: Strata, counts: Ints, options: BalanceOptions) -> Census:
    labels = (options.label,) if options.label is not None else ()
    reading = Reading(attributes=options.attributes, labels=labels)
    order = {name: bins.names for name, bins in options.bins.items()}
    found = count(strata.units(counts), reading, plan_audit(options), order)
    return replace(found, records=int(counts.sum()))


_Strategy = Callable[[Strata, Goal, BalanceOptions, Mapping[str, str]], Allocation]
_STRATEGIES: Mapping[str, _Strategy] = {
    "reweigh": lambda strata, goal, *_: reweigh(strata, goal),
    "subset": lambda strata, goal, options, _: subset(strata, goal, options.seed, options.label),
    "oversample": lambda strata, goal, options, _: oversample(
        strata, goal, options.seed, options.label
    ),
    "augment": lambda strata, goal, options, _: oversample(
        strata, goal, options.seed, options.label
    ),
    "augment-positive": lambda strata, goal, options, _: add_positives(
        strata, goal, str(options.positive), cast(Rate, options.rate)
    ),
    "labels": lambda strata, _, __, unwanted: remove_labels(strata, unwanted),
}
