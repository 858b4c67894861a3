"""From what was read to what becomes of every record, and what that changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from curate.balance.audit.measure import Audit, Rules, Targets, audit
from curate.balance.audit.shares import spell
from curate.balance.cells import Ints
from curate.balance.census import Census, count
from curate.balance.correct.comparison import Comparison, compare
from curate.balance.correct.goal import Correction, Goal, Wanted, resolve_targets
from curate.balance.correct.intake import Intake, plan_audit
from curate.balance.correct.kinds import Kinds, find_members
from curate.balance.correct.ledger import Ledger
from curate.balance.correct.options import TOLERANCE, Balancing
from curate.balance.correct.positive import Rate, add_positives
from curate.balance.correct.programme import oversample, remove_labels, subset
from curate.balance.correct.reweigh import reweigh
from curate.balance.groups import Reading
from curate.core.errors import DataError, UsageError

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
