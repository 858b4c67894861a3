"""How many records of each kind to have, as an integer programme.

With x the number of records of each kind, and for every label and group g of target t,
the sum over its people S and the sum over all people of known groups N:

    (t - tolerance)·N ≤ S ≤ (t + tolerance)·N

which is linear in x. Labels that no record has in common are programmes of their own.
Solved by HiGHS (Huangfu and Hall, Mathematical Programming Computation 10, 2018) through
SciPy's `milp`; with no gap allowed, nothing meets the target with more, or fewer, records.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import block_diag, coo_array, csr_array, hstack, vstack

from curate.balance.contingency import Bools, Ints
from curate.balance.correct.goal import Correction, Goal, Shortage
from curate.balance.correct.strata import Kinds, Members, find_members
from curate.core.errors import DataError
from curate.core.intervals import Floats

_SECONDS = 120.0
_INFEASIBLE = 2  # of SciPy's ways to end
_SHOWN = 4


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Which numbers of records are to be had.

    Args:
        low: K, at the least.
        high: K, at the most.
        largest: whether as many as possible are wanted, or as few.
        times: how many a further record would allow.
    """

    low: Ints
    high: Ints
    largest: bool
    times: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """The best numbers of records.

    Args:
        counts: K.
        gap: how much better, as a share, they could at most be.
    """

    counts: Ints
    gap: float


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Labels that records have in common, and the kinds of those records.

    Args:
        labels: the labels; one None where targets are for all records.
        places: P of the K kinds.
        rows: the constraints, R×P; each row is to be 0 at the most.
        having: L×P, which kinds have each label.
        least: M×P, which kinds have each label that is to keep some records.
    """

    labels: tuple[str | None, ...]
    places: Ints
    rows: csr_array
    having: csr_array
    least: csr_array


def solve(kinds: Kinds, goal: Goal, limits: Limits) -> Solution:
    """Find the numbers of records that meet a target.

    Args:
        kinds: the records.
        goal: the target.
        limits: what is to be had.

    Raises:
        DataError: if nothing meets the target; names the cells that make it so.
    """
    members = [
        find_members(kinds, columns, list(target)) for columns, target in goal.targets.items()
    ]
    counts = limits.high.copy() if limits.largest else limits.low.copy()
    having = {label: kinds.having(label) for label in kinds.names()}
    _check_least(having, kinds, goal)
    gap = 0.0
    unsolved: list[_Part] = []
    for part in _iter_parts(having, kinds, goal, members):
        solution = _solve_part(part, goal, limits)
        if solution is None:
            unsolved.append(part)
            continue
        counts[part.places] = solution.counts
        gap = max(gap, solution.gap)
    if unsolved:
        raise DataError(_explain(unsolved, kinds, goal, limits, members))
    return Solution(counts, gap)


def _check_least(having: Mapping[str, Ints], kinds: Kinds, goal: Goal) -> None:
    for label, places in having.items():
        there = int(kinds.counts[places].sum())
        if there < goal.least:
            raise DataError(
                f"{label} has {there:,} records, fewer than the {goal.least:,} that every label "
                "must keep; lower --min-per-label"
            )


def _iter_parts(
    having: Mapping[str, Ints], kinds: Kinds, goal: Goal, members: Sequence[Members]
) -> Iterator[_Part]:
    if not goal.within:
        every = np.arange(len(kinds))
        least = _mark(list(having.values()) if goal.least else [], every)
        rows = _stack_rows([every], every, goal, members)
        yield _Part((None,), every, rows, _mark([every], every), least)
        return
    for labels in _join_labels(kinds):
        some = [having[label] for label in labels]
        places = np.unique(np.concatenate(some))
        marks = _mark(some, places)
        yield _Part(labels, places, _stack_rows(some, places, goal, members), marks, marks)


def _join_labels(kinds: Kinds) -> list[tuple[str, ...]]:
    """Labels in sets that no record crosses."""
    above = {name: name for name in kinds.names()}

    def top(name: str) -> str:
        while above[name] != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for labels in kinds.labels:
        named = [name for name in labels if name in above]
        for name in named[1:]:
            above[top(name)] = top(named[0])
    sets: dict[str, list[str]] = {}
    for name in above:
        sets.setdefault(top(name), []).append(name)
    return [tuple(names) for names in sets.values()]


def _mark(having: Sequence[Ints], places: Ints) -> csr_array:
    """Which of some places are those of each label, as noughts and ones."""
    rows = [_spread(np.ones((1, len(some))), np.searchsorted(places, some), len(places))
            for some in having]  # fmt: skip
    return csr_array(vstack(rows)) if rows else csr_array((0, len(places)))


def _stack_rows(
    having: Sequence[Ints], places: Ints, goal: Goal, members: Sequence[Members]
) -> csr_array:
    """Every label's constraints, one grouping after another."""
    rows = [
        _spread(_signs(each.people[some], goal, number), np.searchsorted(places, some), len(places))
        for some in having
        for number, each in enumerate(members)
    ]
    return csr_array(vstack(rows))


def _signs(people: Floats, goal: Goal, grouping: int) -> Floats:
    """Both sides of every group's constraint, 2·G×K: ±(S - t·N) - tolerance·N."""
    target = np.array(list(tuple(goal.targets.values())[grouping].values()))
    known = people.sum(axis=1)
    off = people.T - target[:, None] * known
    slack = goal.tolerance * known
    return np.concatenate([off - slack, -off - slack])


def _spread(block: Floats, columns: Ints, width: int) -> csr_array:
    """A block's columns at their places in a wider matrix of noughts."""
    sparse = coo_array(block)
    where = (sparse.coords[0], columns[sparse.coords[1]])
    return csr_array((sparse.data, where), shape=(len(block), width))


def _solve_part(part: _Part, goal: Goal, limits: Limits) -> Solution | None:
    """The best numbers of a part's kinds; None if nothing meets the target."""
    low, high = limits.low[part.places], limits.high[part.places]
    sign = -1.0 if limits.largest else 1.0
    answer = milp(
        np.full(len(part.places), sign),
        integrality=np.ones(len(part.places)),
        bounds=Bounds(low, high),
        constraints=[
            LinearConstraint(part.rows, -np.inf, 0.0),
            LinearConstraint(part.least, goal.least, np.inf),
        ],
        options={"mip_rel_gap": 0.0, "time_limit": _SECONDS},
    )
    if answer.x is None and answer.status != _INFEASIBLE:
        raise DataError(
            f"no answer was found in {_SECONDS:g} s; raise --tolerance, or look at fewer attributes"
        )
    if answer.x is None:
        return None
    found = np.rint(answer.x).astype(np.int64)
    return Solution(found, max(0.0, float(answer.mip_gap or 0.0)))


def _explain(
    parts: Sequence[_Part], kinds: Kinds, goal: Goal, limits: Limits, members: Sequence[Members]
) -> str:
    """Why nothing meets the target: the fewest records that would have to be added, and where."""
    shortages = [
        shortage
        for part in parts
        for shortage in _find_shortages(part, kinds, goal, limits, members)
    ]
    if not shortages:
        named = [label for part in parts for label in part.labels if label is not None]
        within = f" of {', '.join(named[:_SHOWN])}" if named else ""
        keeping = f" and keeps {goal.least:,} of every label" if goal.least > 1 else ""
        lower = ", or lower --min-per-label" if keeping else ""
        return (
            f"no whole number of records{within} meets the target within {goal.tolerance:g}"
            f"{keeping}; raise --tolerance{lower}"
        )
    shortages.sort(key=lambda each: -each.needed)
    shown = "; ".join(map(str, shortages[:_SHOWN]))
    more = f"; and {len(shortages) - _SHOWN:,} more" if len(shortages) > _SHOWN else ""
    return (
        f"the target cannot be met for want of: {shown}{more}; raise --tolerance, change the "
        "target, or collect more"
    )


def _find_shortages(
    part: _Part, kinds: Kinds, goal: Goal, limits: Limits, members: Sequence[Members]
) -> list[Shortage]:
    """An elastic programme: records may be added, each at a cost, and the cheapest are told."""
    cells = [
        (label, grouping, group)
        for label in range(len(part.labels))
        for grouping, each in enumerate(members)
        for group in range(len(each.groups))
    ]
    real, phantom = len(part.places), len(cells)
    shadows = [_signs(np.eye(len(each.groups)), goal, place) for place, each in enumerate(members)]
    of_label = np.zeros((part.least.shape[0], phantom))
    if goal.within:
        for place, (label, grouping, _) in enumerate(cells):
            of_label[label, place] = grouping == 0
    answer = linprog(
        np.concatenate([np.zeros(real), np.ones(phantom)]),
        A_ub=vstack(
            [
                hstack([part.rows, csr_array(block_diag(shadows * len(part.labels)))]),
                -hstack([part.least, csr_array(of_label)]),
            ]
        ),
        b_ub=np.concatenate(
            [np.zeros(part.rows.shape[0]), np.full(part.least.shape[0], -goal.least)]
        ),
        bounds=np.stack(
            [
                np.concatenate([limits.low[part.places], np.zeros(phantom)]),
                np.concatenate([limits.high[part.places], np.full(phantom, np.inf)]),
            ],
            axis=1,
        ),
        method="highs",
    )
    if answer.x is None:
        return []
    shortages = []
    for (label, grouping, group), needed in zip(cells, answer.x[real:], strict=True):
        if needed > 1e-6:
            each = members[grouping]
            own = part.having[[label]].toarray()[0] > 0
            there = kinds.counts[part.places][own] @ each.people[part.places][own, group]
            shortages.append(
                Shortage(
                    part.labels[label], each.columns, each.groups[group], int(there),
                    math.ceil(needed / limits.times - 1e-6),
                )
            )  # fmt: skip
    return shortages


def subset(kinds: Kinds, goal: Goal) -> Correction:
    """The largest subset that meets a target.

    Args:
        kinds: the records.
        goal: the target, the tolerance, and what each label must keep.

    Raises:
        DataError: if none meets it; names the cells that make it so.
    """
    found = solve(kinds, goal, Limits(np.zeros_like(kinds.counts), kinds.counts, largest=True))
    return Correction(
        kept=found.counts,
        made=np.zeros_like(kinds.counts),
        weights=np.ones(len(kinds)),
        why=_reasons(kinds.counts > found.counts, "there are more of its group than the target"),
        gap=found.gap,
    )


def oversample(kinds: Kinds, goal: Goal) -> Correction:
    """The fewest records to make from those that there are, none too often, to meet a target.

    Args:
        kinds: the records.
        goal: the target, the tolerance, and how often a record may come.

    Raises:
        DataError: if it cannot be met so; names the cells that make it so.
    """
    most = kinds.counts * goal.most_copies
    found = solve(kinds, goal, Limits(kinds.counts, most, largest=False, times=goal.most_copies))
    return Correction(
        kept=kinds.counts,
        made=found.counts - kinds.counts,
        weights=np.ones(len(kinds)),
        why=_reasons(found.counts > kinds.counts, "there are fewer of its group than the target"),
        gap=found.gap,
    )


def remove_labels(kinds: Kinds, unwanted: Mapping[str, str]) -> Correction:
    """Remove every record that has a label which people decided against.

    Args:
        kinds: the records.
        unwanted: why each such label goes.
    """
    why = tuple(
        next((f"{name}: {unwanted[name]}" for name in labels if name in unwanted), None)
        for labels in kinds.labels
    )
    stays = np.array([reason is None for reason in why], dtype=np.bool_)
    return Correction(
        kept=np.where(stays, kinds.counts, 0),
        made=np.zeros_like(kinds.counts),
        weights=np.ones(len(kinds)),
        why=why,
    )


def _reasons(changed: Bools, reason: str) -> tuple[str | None, ...]:
    return tuple(reason if each else None for each in changed)
