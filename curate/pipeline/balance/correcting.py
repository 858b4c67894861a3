"""From what was read to what becomes of every record, and what that changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import cast

from curate.balance.audit import Audit, Rules, audit
from curate.balance.cells import Ints
from curate.balance.census import Census, count
from curate.balance.correction.comparison import Comparison, compare
from curate.balance.correction.goal import Goal, Wanted, resolve_targets
from curate.balance.correction.kinds import Kinds
from curate.balance.correction.outcome import Correction
from curate.balance.correction.positive import Rate, add_positives
from curate.balance.correction.reweigh import reweigh
from curate.balance.correction.strategies import oversample, remove_labels, subset
from curate.balance.groups import Reading
from curate.core.errors import DataError
from curate.pipeline.balance.intake import Intake, plan_audit
from curate.pipeline.balance.ledger import Ledger
from curate.pipeline.balance.options import Balancing


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
    goal = Goal(targets, options.within, options.tolerance, options.least, options.most_copies)
    correction = _STRATEGIES[options.strategy](kinds, goal, options, unwanted)
    if not correction.kept.sum():
        raise DataError("nothing would be left of the dataset; ask for less")
    before = after = None
    if options.by:
        rules = Rules({} if isinstance(wanted, str) else wanted, seed=options.seed)
        if wanted == "observed":
            rules = replace(rules, targets=dict(targets))
        before = audit(_census(kinds, kinds.counts, options), rules)
        after = audit(_census(kinds, _counts_after(correction, options), options), rules)
    return Corrected(correction, compare(kinds, correction, goal), before, after, goal)


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
