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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import block_diag, coo_array, csr_array, hstack, vstack

from curate.balance.cells import Ints
from curate.balance.correction.goal import Goal, Shortage
from curate.balance.correction.kinds import Kinds, Members, find_members
from curate.core.errors import DataError
from curate.core.intervals import Floats

_SECONDS = 120.0
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
        phantoms: the same of records that are not there, R×Q, one for each …
        cells: … label, grouping and group, Q.
        least: L×P, which kinds have each label.
    """

    labels: tuple[str | None, ...]
    places: Ints
    rows: csr_array
    phantoms: csr_array
    cells: tuple[tuple[int, int, int], ...]
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
    _check_least(kinds, goal)
    gap = 0.0
    unsolved: list[_Part] = []
    for part in _iter_parts(kinds, goal, members):
        solution = _solve_part(part, goal, limits)
        if solution is None:
            unsolved.append(part)
            continue
        counts[part.places] = solution.counts
        gap = max(gap, solution.gap)
    if unsolved:
        raise DataError(_explain(unsolved, kinds, goal, limits, members))
    return Solution(counts, gap)


def _check_least(kinds: Kinds, goal: Goal) -> None:
    if not goal.within:
        return
    for label in kinds.names():
        there = int(kinds.counts[kinds.having(label)].sum())
        if there < goal.least:
            raise DataError(
                f"{label} has {there:,} records, fewer than the {goal.least:,} that every label "
                "must keep; lower --min-per-label"
            )


def _iter_parts(kinds: Kinds, goal: Goal, members: Sequence[Members]) -> Iterator[_Part]:
    if not goal.within:
        yield _part((None,), kinds, goal, members)
        return
    for labels in _join_labels(kinds):
        yield _part(labels, kinds, goal, members)


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


def _part(
    labels: tuple[str | None, ...], kinds: Kinds, goal: Goal, members: Sequence[Members]
) -> _Part:
    having = [kinds.having(label) for label in labels]
    places = np.unique(np.concatenate(having))
    inside = [np.searchsorted(places, some) for some in having]
    signs = [_signs(each.people, goal, number) for number, each in enumerate(members)]
    shadows = [
        _signs(np.eye(len(each.groups)), goal, number) for number, each in enumerate(members)
    ]
    rows, phantoms = [], []
    for some, own in zip(having, inside, strict=True):
        for block in signs:
            rows.append(_spread(block[:, some], own, len(places)))
        phantoms += shadows
    ones = [_spread(np.ones((1, len(own))), own, len(places)) for own in inside]
    cells = tuple(
        (label, grouping, group)
        for label in range(len(labels))
        for grouping, each in enumerate(members)
        for group in range(len(each.groups))
    )
    stacked = csr_array(block_diag(phantoms))
    return _Part(labels, places, csr_array(vstack(rows)), stacked, cells, csr_array(vstack(ones)))


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
    least = goal.least if goal.within else 0
    answer = milp(
        np.full(len(part.places), sign),
        integrality=np.ones(len(part.places)),
        bounds=Bounds(low, high),
        constraints=[
            LinearConstraint(part.rows, -np.inf, 0.0),
            LinearConstraint(part.least, least, np.inf),
        ],
        options={"mip_rel_gap": 0.0, "time_limit": _SECONDS},
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
        return (
            f"no whole number of records{within} meets the target within {goal.tolerance:g}; "
            "raise --tolerance"
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
    real, phantom = len(part.places), len(part.cells)
    of_label = np.zeros((len(part.labels), phantom))
    for place, (label, grouping, _) in enumerate(part.cells):
        of_label[label, place] = grouping == 0
    least = goal.least if goal.within else 0
    answer = linprog(
        np.concatenate([np.zeros(real), np.ones(phantom)]),
        A_ub=vstack(
            [hstack([part.rows, part.phantoms]), -hstack([part.least, csr_array(of_label)])]
        ),
        b_ub=np.concatenate([np.zeros(part.rows.shape[0]), np.full(len(part.labels), -least)]),
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
    for (label, grouping, group), needed in zip(part.cells, answer.x[real:], strict=True):
        if needed > 1e-6:
            each = members[grouping]
            own = part.least[[label]].toarray()[0] > 0
            there = kinds.counts[part.places][own] @ each.people[part.places][own, group]
            shortages.append(
                Shortage(
                    part.labels[label], each.columns, each.groups[group], int(there),
                    math.ceil(needed / limits.times - 1e-6),
                )
            )  # fmt: skip
    return shortages
