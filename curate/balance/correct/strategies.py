"""More positively labelled records of the groups that have the label more rarely.

Where a group is scarce and its label was given more rarely than it should have been,
adding records of the group at random makes it larger and leaves its rate as it is.
Adding positively labelled ones raises both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from curate.balance.audit.measure import Audit, Rules, Targets, audit
from curate.balance.audit.representation import spell
from curate.balance.census import Census, count
from curate.balance.contingency import Ints
from curate.balance.correct.comparison import Comparison, compare
from curate.balance.correct.decisions import Ledger
from curate.balance.correct.goal import Correction, Goal, Wanted, resolve_targets
from curate.balance.correct.integer_program import oversample, remove_labels, subset
from curate.balance.correct.options import TOLERANCE, Balancing
from curate.balance.correct.reweigh import reweigh
from curate.balance.correct.source import Intake, plan_audit
from curate.balance.correct.strata import Kinds, find_members
from curate.balance.groups import Reading
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


_SHOWN = 4
_MEETING = frozenset({"subset", "oversample", "augment"})  # strategies that search for shares


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """What becomes of a dataset.

    Args:
        correction: what becomes of every kind of record.
        comparisons: what that changes, for every grouping.
        before: the audit of what there was; None where no group is looked at.
        after: the audit of what there will be; with weights, of as many records as they are
            worth.
        goal: what was to be reached.
    """

    correction: Correction
    comparisons: tuple[Comparison, ...]
    before: Audit | None
    after: Audit | None
    goal: Goal


def correct(
    intake: Intake, options: Balancing, wanted: Wanted, unwanted: Mapping[str, str]
) -> Corrected:
    """Decide what becomes of every kind of record.

    Args:
        intake: what was read.
        options: the strategy and its options.
        wanted: the target.
        unwanted: labels to be removed, each with its reason.

    Raises:
        DataError: if the target cannot be met, or is not for these groups.
    """
    kinds = intake.kinds
    if options.label is not None and not kinds.names():
        raise DataError(f"no record has a {options.label}; leave --within and --label out")
    targets = resolve_targets(kinds, options.by, wanted) if options.by else {}
    tolerance = _tolerance(targets, options)
    goal = Goal(targets, options.within, tolerance, options.least, options.most_copies)
    correction = _STRATEGIES[options.strategy](kinds, goal, options, unwanted)
    if not correction.kept.sum():
        raise DataError(_explain_nothing(kinds, goal))
    before = after = None
    if options.by:
        rules = Rules({} if isinstance(wanted, str) else wanted, seed=options.seed)
        if wanted == "observed":
            rules = replace(rules, targets=dict(targets))
        before = audit(_census(kinds, kinds.counts, options), rules)
        after = audit(_census(kinds, _counts_after(correction, options), options), rules)
    return Corrected(correction, compare(kinds, correction, goal), before, after, goal)


def _tolerance(targets: Targets, options: Balancing) -> float:
    """How far a share may be from its target; a group that is wanted must not be left out by it.

    Raises:
        UsageError: if the one that was asked for is so wide.
    """
    wanted = ((share, group) for target in targets.values() for group, share in target.items())
    smallest, group = min(((share, group) for share, group in wanted if share), default=(1.0, ()))
    if options.strategy not in _MEETING:
        return TOLERANCE if options.tolerance is None else options.tolerance
    if options.tolerance is None:
        return min(TOLERANCE, smallest / 10)
    if options.tolerance >= smallest:
        raise UsageError(
            f"--tolerance {options.tolerance:g} would let {spell(group)} be left out, of which the "
            f"target wants {smallest:.2g}; give a smaller one"
        )
    return options.tolerance


def _explain_nothing(kinds: Kinds, goal: Goal) -> str:
    """Why no record would be left, in one line."""
    absent: list[str] = []
    for columns, target in goal.targets.items():
        members = find_members(kinds, columns, list(target))
        people = kinds.counts @ members.people
        absent += [
            spell(group)
            for group, share, there in zip(target, target.values(), people, strict=True)
            if share > goal.tolerance and not there
        ]
    if not absent:
        return "nothing would be left of the dataset; ask for less"
    more = f" and {len(absent) - _SHOWN:,} more" if len(absent) > _SHOWN else ""
    return (
        f"the target wants records of {', '.join(absent[:_SHOWN])}{more}, of which there are none; "
        "look at coarser groups, or give a --target TABLE with a share of 0 for them"
    )


def decide(intake: Intake, corrected: Corrected, ledger: Ledger) -> None:
    """Note what becomes of every record."""
    kinds = zip(intake.kinds.people, intake.kinds.labels, strict=True)
    ledger.decide(kinds, corrected.correction)


def _counts_after(correction: Correction, options: Balancing) -> Ints:
    if options.strategy == "reweigh":
        return correction.effective_counts()
    return correction.kept + correction.made


def _census(kinds: Kinds, counts: Ints, options: Balancing) -> Census:
    labels = (options.label,) if options.label is not None else ()
    reading = Reading(attributes=options.attributes, labels=labels)
    order = {name: bins.names for name, bins in options.bins.items()}
    found = count(kinds.units(counts), reading, plan_audit(options), order)
    return replace(found, records=int(counts.sum()))


_Strategy = Callable[[Kinds, Goal, Balancing, Mapping[str, str]], Correction]
_STRATEGIES: Mapping[str, _Strategy] = {
    "reweigh": lambda kinds, goal, *_: reweigh(kinds, goal),
    "subset": lambda kinds, goal, *_: subset(kinds, goal),
    "oversample": lambda kinds, goal, *_: oversample(kinds, goal),
    "augment": lambda kinds, goal, *_: oversample(kinds, goal),
    "augment-positive": lambda kinds, goal, options, _: add_positives(
        kinds, goal, str(options.positive), cast(Rate, options.rate)
    ),
    "labels": lambda kinds, _, __, unwanted: remove_labels(kinds, unwanted),
}
