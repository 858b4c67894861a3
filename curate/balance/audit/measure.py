"""All statistics of an audit, as a function of the counts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from curate.balance.audit.adjusted import Adjusted, Crossing, Reversal, adjust, find_reversals
from curate.balance.audit.association import (
    FALSE_DISCOVERIES,
    Association,
    Pair,
    compute_associations,
    control,
)
from curate.balance.audit.base_rates import Groups, LabelRates, control_rates, rate
from curate.balance.audit.coverage import THRESHOLD, Uncovered, find_uncovered
from curate.balance.audit.representation import (
    ChiSquare,
    Divergence,
    Group,
    GroupShare,
    check_target,
    chi2_independence,
    compute_divergence,
    compute_shares,
    format_group,
    iter_groups,
    margin,
    uniform,
)
from curate.balance.census import Census
from curate.balance.contingency import Columns, Table
from curate.balance.groups import MISSING
from curate.core.errors import DataError

Targets = Mapping[Columns, Mapping[Group, float]]
"""Target shares by group, with sum 1, by combination of attributes."""

_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Rules:
    """Parameters of the statistics.

    Args:
        targets: reference populations; the target of other groupings is uniform.
        threshold: minimum number of records of a covered pattern.
        seed: random seed of the bootstrap.
        references: the group with which base rates are compared, by attribute (several crossed
            are joined by commas); all others are compared with the rest of the population.
    """

    targets: Targets = field(default_factory=dict)
    threshold: int = THRESHOLD
    seed: int = 0
    references: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Grouping:
    """The groups of an attribute, or of several crossed.

    Args:
        columns: the attributes.
        shares: one per group.
        divergence: from the target; None if counts are suppressed.
        has_reference: whether the target is a reference population; uniform otherwise.
        independence: test of two crossed attributes; None for other numbers.
    """

    columns: Columns
    shares: tuple[GroupShare, ...]
    divergence: Divergence | None
    has_reference: bool
    independence: ChiSquare | None


@dataclass(frozen=True, slots=True)
class Statistics:
    """All statistics of an audit.

    Args:
        census: the counts.
        rules: the parameters.
        groupings: single attributes, then the requested combinations.
        associations: of each label with each group.
        label_fits: tests of independence of labels and groups, by attribute.
        base_rates: rates of each label by group.
        outcomes: rates of the outcomes of `curate blur` by group, by column.
        reversals: Simpson's reversals.
        adjusted: differences adjusted for another attribute, for crossed attributes.
        uncovered: maximal uncovered patterns; None if not computed.
    """

    census: Census
    rules: Rules
    groupings: tuple[Grouping, ...]
    associations: tuple[Association, ...]
    label_fits: Mapping[str, ChiSquare | None]
    base_rates: tuple[LabelRates, ...]
    outcomes: Mapping[str, tuple[LabelRates, ...]]
    reversals: tuple[Reversal, ...]
    adjusted: tuple[Adjusted, ...]
    uncovered: tuple[Uncovered, ...] | None


def compute_statistics(census: Census, rules: Rules) -> Statistics:
    """Compute all statistics.

    Args:
        census: the counts; statistics that depend on suppressed ones are omitted.
        rules: the parameters.

    Raises:
        DataError: if a target or a reference group does not match the groups.
    """
    plan = census.plan
    groupings_ = _groupings(census)
    check_references(census, rules)
    groupings = tuple(_group(census, columns, rules) for columns in groupings_)
    associations: list[Association] = []
    fits: dict[str, ChiSquare | None] = {}
    rates: list[LabelRates] = []
    reversals: list[Reversal] = []
    adjusted: list[Adjusted] = []
    if plan.label is not None:
        for columns in groupings_:
            associations += _associate(census, plan.label, columns, rules.seed)
            fits[",".join(columns)] = _independence(census, plan.label, columns)
            rates += _rate(census, plan.label, columns, rules)
        # Noise would look like a reversal.
        crossings = () if census.noise else list(_iter_crossings(census, plan.label, rules))
        reversals = [found for each in crossings for found in find_reversals(each)]
        adjusted = [found for each in crossings for found in adjust(each)]
    cells = census.cells
    uncovered = None if cells is None else tuple(find_uncovered(cells, rules.threshold))
    return Statistics(
        census=census,
        rules=rules,
        groupings=groupings,
        associations=tuple(control(associations)),
        label_fits=fits,
        base_rates=tuple(control_rates(rates, FALSE_DISCOVERIES)),
        outcomes={
            name: tuple(
                control_rates(
                    [
                        each
                        for columns in groupings_
                        for each in _rate(census, name, columns, rules)
                    ],
                    FALSE_DISCOVERIES,
                )
            )
            for name in plan.outcomes
        },
        reversals=tuple(reversals),
        adjusted=tuple(adjusted),
        uncovered=uncovered,
    )


def _groupings(census: Census) -> tuple[Columns, ...]:
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
    found = compute_divergence(table, target)
    if found is not None and census.noise:
        found = replace(found, fit=None)  # the test requires exact counts
    return Grouping(
        columns=columns,
        shares=compute_shares(table, int(census.total.counts), target, census.noise),
        divergence=found,
        has_reference=reference is not None,
        independence=chi2_independence(_without_missing(table)) if crossed else None,
    )


def _without_missing(table: Table) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    counts = table.counts
    for axis, values in enumerate(table.values):
        known = [position for position, value in enumerate(values) if value != MISSING]
        counts = np.take(counts, known, axis=axis)
    return counts


def _associate(census: Census, label: str, columns: Columns, seed: int) -> Iterator[Association]:
    """Associations of the labels without suppressed counts."""
    sizes, both = census.table(*columns), census.table(label, *columns)
    if not sizes.whole:
        return
    names = both.values[0]
    counts, hidden = (each.reshape(len(names), -1) for each in (both.counts, both.hidden))
    known = [
        position
        for position, name in enumerate(names)
        if name != MISSING and not hidden[position].any()
    ]
    of_group = sizes.counts.ravel()
    pair = Pair(
        attribute=",".join(columns),
        labels=[names[position] for position in known],
        groups=[format_group(group) for group, _ in iter_groups(sizes)],
        both=np.minimum(counts[known], of_group),
        of_group=of_group,
    )
    if of_group.any():
        yield from compute_associations(pair, seed, tested=not census.noise)


def _independence(census: Census, label: str, columns: Columns) -> ChiSquare | None:
    """None if a record may have several labels or counts have noise: the test is not valid."""
    table = census.table(label, *columns)
    if label not in census.single or not table.whole or census.noise:
        return None
    counts = _without_missing(table)
    # An explicit size: without rows or columns, -1 would be ambiguous.
    return chi2_independence(counts.reshape(counts.shape[0], math.prod(counts.shape[1:])))


def check_references(census: Census, rules: Rules) -> None:
    """Check that every stated reference group exists.

    Raises:
        DataError: if it does not; lists the groups.
    """
    names = {",".join(columns): columns for columns in _groupings(census)}
    for attribute, group in rules.references.items():
        if attribute not in names:
            raise DataError(
                f"the reference group {attribute}={group} names no attribute of --by; "
                f"choose one of: {', '.join(names)}"
            )
        groups = [
            format_group(each)
            for each, _ in iter_groups(census.table(*names[attribute]))
            if MISSING not in each
        ]
        if group not in groups:
            shown = ", ".join(groups[:_SHOWN]) + (", …" if len(groups) > _SHOWN else "")
            raise DataError(
                f"no record has the reference group {attribute}={group}; choose one of: {shown}"
            )


def _rate(census: Census, label: str, columns: Columns, rules: Rules) -> Iterator[LabelRates]:
    sizes, both = census.table(*columns), census.table(label, *columns)
    names = both.values[0]
    attribute, members = ",".join(columns), [format_group(each) for each, _ in iter_groups(sizes)]
    reference = rules.references.get(attribute)
    groups = Groups(
        attribute=attribute,
        names=members,
        sizes=sizes.counts.ravel(),
        hidden=sizes.hidden.ravel(),
        compared=np.array([MISSING not in group for group, _ in iter_groups(sizes)]),
        noise=census.noise,
        reference=None if reference is None else members.index(reference),
    )
    counts, hidden = (each.reshape(len(names), -1) for each in (both.counts, both.hidden))
    for position, name in enumerate(names):
        yield rate(name, counts[position], hidden[position], groups)


def _iter_crossings(census: Census, label: str, rules: Rules) -> Iterator[Crossing]:
    """Each attribute within each other attribute that it was crossed with, by label.

    Missing values are neither groups nor strata.
    """
    for pair in census.plan.margins:
        if len(pair) != 2:
            continue
        for attribute, within in (pair, pair[::-1]):
            sizes = census.table(attribute, within)
            hits = census.table(label, attribute, within)
            if not sizes.whole:
                continue
            known = np.ix_(
                *([n for n, value in enumerate(each) if value != MISSING] for each in sizes.values)
            )
            names = [[value for value in each if value != MISSING] for each in sizes.values]
            for position, name in enumerate(hits.values[0]):
                if name != MISSING and not hits.hidden[position].any():
                    yield Crossing(
                        label=name,
                        attribute=attribute,
                        groups=names[0],
                        within=within,
                        parts=names[1],
                        hits=np.minimum(hits.counts[position], sizes.counts)[known],
                        sizes=sizes.counts[known],
                        reference=rules.references.get(attribute),
                    )
