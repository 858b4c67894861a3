"""Every figure of an audit, from what was counted and nothing else."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from curate.balance.audit.association import Association, Pair, associate, control
from curate.balance.audit.base_rates import Groups, LabelRates, rate
from curate.balance.audit.coverage import THRESHOLD, Uncovered, find_uncovered
from curate.balance.audit.representation import (
    Divergence,
    Fit,
    Group,
    GroupShare,
    check_target,
    diverge,
    independence,
    iter_groups,
    margin,
    share_out,
    spell,
    uniform,
)
from curate.balance.audit.simpson import Crossing, Reversal, find_reversals
from curate.balance.census import Census
from curate.balance.contingency import Columns, Table
from curate.balance.groups import MISSING

Targets = Mapping[Columns, Mapping[Group, float]]
"""Shares by group, adding up to 1, for each combination of attributes that has any."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts are held against.

    Args:
        targets: reference populations; whatever none of them covers should be even.
        threshold: records from which on a pattern is covered.
        seed: of the bootstrap.
    """

    targets: Targets = field(default_factory=dict)
    threshold: int = THRESHOLD
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of an attribute, or of several crossed.

    Args:
        columns: the attributes.
        shares: one for each group.
        divergence: how far they are from the target; None where counts are hidden.
        has_reference: whether the target is a reference population; otherwise, it is even.
        independence: of two attributes crossed, from each other; None for any other number.
    """

    columns: Columns
    shares: tuple[GroupShare, ...]
    divergence: Divergence | None
    has_reference: bool
    independence: Fit | None


@dataclass(frozen=True, slots=True)
class Audit:
    """Who is in a dataset, in which numbers and under which labels.

    Args:
        census: what was counted.
        rules: what it was held against.
        groupings: single attributes, then the combinations that were asked for.
        associations: of each label with each group.
        label_fits: whether labels and groups are independent, by attribute.
        base_rates: how often each group has each label, and …
        outcomes: … what became of each group's records, by column.
        reversals: Simpson's.
        uncovered: maximal uncovered patterns; None where they were not looked for.
    """

    census: Census
    rules: Rules
    groupings: tuple[Grouping, ...]
    associations: tuple[Association, ...]
    label_fits: Mapping[str, Fit | None]
    base_rates: tuple[LabelRates, ...]
    outcomes: Mapping[str, tuple[LabelRates, ...]]
    reversals: tuple[Reversal, ...]
    uncovered: tuple[Uncovered, ...] | None


def audit(census: Census, rules: Rules) -> Audit:
    """Work out every figure.

    Args:
        census: what was counted; hidden counts make what hangs on them unknown.
        rules: what to hold it against.

    Raises:
        DataError: if a target is not for these groups.
    """
    plan = census.plan
    looked_at = _looked_at(census)
    groupings = tuple(_group(census, columns, rules) for columns in looked_at)
    associations: list[Association] = []
    fits: dict[str, Fit | None] = {}
    rates: list[LabelRates] = []
    reversals: list[Reversal] = []
    if plan.label is not None:
        for columns in looked_at:
            associations += _associate(census, plan.label, columns, rules.seed)
            fits[",".join(columns)] = _independence(census, plan.label, columns)
            rates += _rate(census, plan.label, columns)
        # Noise would pass for a reversal.
        reversals = [] if census.noise else list(_iter_reversals(census, plan.label))
    cells = census.cells
    uncovered = None if cells is None else tuple(find_uncovered(cells, rules.threshold))
    return Audit(
        census=census,
        rules=rules,
        groupings=groupings,
        associations=tuple(control(associations)),
        label_fits=fits,
        base_rates=tuple(rates),
        outcomes={
            name: tuple(each for columns in looked_at for each in _rate(census, name, columns))
            for name in plan.outcomes
        },
        reversals=tuple(reversals),
        uncovered=uncovered,
    )


def _looked_at(census: Census) -> tuple[Columns, ...]:
    """Each attribute alone, then the combinations."""
    plan = census.plan
    singles = ((name,) for name in plan.attributes)
    return tuple(dict.fromkeys((*singles, *(group for group in plan.by if len(group) > 1))))


def _group(census: Census, columns: Columns, rules: Rules) -> Grouping:
    table = census.table(*columns)
    reference = next((names for names in rules.targets if set(columns) <= set(names)), None)
    if reference is None:
        target = uniform(table)
    else:
        target = margin(rules.targets[reference], reference, columns)
        if table.whole:
            check_target(target, table)
    crossed = len(columns) == 2 and table.whole and not census.noise
    found = diverge(table, target)
    if found is not None and census.noise:
        found = replace(found, fit=None)  # the test is of counts without noise
    return Grouping(
        columns=columns,
        shares=share_out(table, int(census.total.counts), target, census.noise),
        divergence=found,
        has_reference=reference is not None,
        independence=independence(_without_missing(table)) if crossed else None,
    )


def _without_missing(table: Table) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    counts = table.counts
    for axis, values in enumerate(table.values):
        known = [place for place, value in enumerate(values) if value != MISSING]
        counts = np.take(counts, known, axis=axis)
    return counts


def _associate(census: Census, label: str, columns: Columns, seed: int) -> Iterator[Association]:
    """Associations of those labels of which every count is known."""
    sizes, both = census.table(*columns), census.table(label, *columns)
    if not sizes.whole:
        return
    names = both.values[0]
    counts, hidden = (each.reshape(len(names), -1) for each in (both.counts, both.hidden))
    known = [
        place for place, name in enumerate(names) if name != MISSING and not hidden[place].any()
    ]
    of_group = sizes.counts.ravel()
    pair = Pair(
        attribute=",".join(columns),
        labels=[names[place] for place in known],
        groups=[spell(group) for group, _ in iter_groups(sizes)],
        both=np.minimum(counts[known], of_group),
        of_group=of_group,
    )
    if of_group.any():
        yield from associate(pair, seed, tested=not census.noise)


def _independence(census: Census, label: str, columns: Columns) -> Fit | None:
    """None where a record may have several labels, or counts have noise: it is no test of that."""
    table = census.table(label, *columns)
    if label not in census.single or not table.whole or census.noise:
        return None
    counts = _without_missing(table)
    # Where nothing is known, there are no rows or no columns, and -1 could be anything.
    return independence(counts.reshape(counts.shape[0], math.prod(counts.shape[1:])))


def _rate(census: Census, label: str, columns: Columns) -> Iterator[LabelRates]:
    sizes, both = census.table(*columns), census.table(label, *columns)
    names = both.values[0]
    groups = Groups(
        attribute=",".join(columns),
        names=[spell(group) for group, _ in iter_groups(sizes)],
        sizes=sizes.counts.ravel(),
        hidden=sizes.hidden.ravel(),
        compared=np.array([MISSING not in group for group, _ in iter_groups(sizes)]),
        noise=census.noise,
    )
    counts, hidden = (each.reshape(len(names), -1) for each in (both.counts, both.hidden))
    for place, name in enumerate(names):
        yield rate(name, counts[place], hidden[place], groups)


def _iter_reversals(census: Census, label: str) -> Iterator[Reversal]:
    """Reversals of each attribute within each other one that it was crossed with."""
    for pair in census.plan.margins:
        if len(pair) != 2:
            continue
        for attribute, within in (pair, pair[::-1]):
            sizes = census.table(attribute, within)
            hits = census.table(label, attribute, within)
            if not sizes.whole:
                continue
            known = [place for place, value in enumerate(sizes.values[0]) if value != MISSING]
            for place, name in enumerate(hits.values[0]):
                if name != MISSING and not hits.hidden[place].any():
                    yield from find_reversals(
                        Crossing(
                            label=name,
                            attribute=attribute,
                            groups=[sizes.values[0][group] for group in known],
                            within=within,
                            parts=sizes.values[1],
                            hits=np.minimum(hits.counts[place], sizes.counts)[known],
                            sizes=sizes.counts[known],
                        )
                    )
