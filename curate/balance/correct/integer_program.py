"""The optimal number of records per stratum, as an integer linear program.

With x the number of records of each stratum, and for every label and group g with target
share t, S the number of people of g and N the number of people of any known group:

    (t - tolerance)·N ≤ S ≤ (t + tolerance)·N

which is linear in x. Labels that no record shares are solved separately.
Solved by HiGHS (Huangfu and Hall, Mathematical Programming Computation 10, 2018) through
SciPy's `milp`; with a relative gap of 0 the solution is optimal.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import block_diag, coo_array, csr_array, hstack, vstack

from curate.balance.contingency import Ints
from curate.balance.correct import proportional
from curate.balance.correct.confounding import measure_associations
from curate.balance.correct.goal import Goal, Shortage
from curate.balance.correct.strata import (
    Members,
    Strata,
    find_members,
)
from curate.core.errors import DataError
from curate.core.intervals import Floats

_SECONDS = 120.0
_SLACK = 1e-7
_GROWTH = 0.005  # growth of an association that counts as none
_INFEASIBLE = 2  # of SciPy's ways to end
_SHOWN = 4


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """Bounds and direction of the optimization over K strata.

    Args:
        low: minimum records per stratum, int64, shape (K,).
        high: maximum records per stratum, int64, shape (K,).
        largest: maximize the total; minimize it if False.
        times: records in the result that one more original record would allow.
        seed: random seed of the rounding.
        label: name of the column of labels, or None.
    """

    low: Ints
    high: Ints
    largest: bool
    times: int = 1
    seed: int = 0
    label: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """A solution.

    Args:
        counts: records per stratum, int64, shape (K,).
        gap: relative optimality gap; 0 if optimal.
        is_proportional: the second stage found a proportional allocation of this size.
    """

    counts: Ints
    gap: float
    is_proportional: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """A separable part of the program: labels that share records, and their strata.

    Args:
        labels: the labels; a single None if targets are over all records.
        positions: indices of P of the K strata.
        rows: constraint matrix, shape (R, P); rows times x must be at most 0.
        having: shape (L, P), 1 where a stratum has a label.
        min_count: shape (M, P), 1 where a stratum has a label with a minimum count.
    """

    labels: tuple[str | None, ...]
    positions: Ints
    rows: csr_array
    having: csr_array
    min_count: csr_array


def solve(strata: Strata, goal: Goal, limits: Search) -> Solution:
    """Find the optimal number of records per stratum subject to a target.

    Args:
        strata: the records.
        goal: targets and tolerance.
        limits: bounds and direction.

    Raises:
        DataError: if the target cannot be met; names the cells that are too small.
    """
    members = [
        find_members(strata, columns, list(target)) for columns, target in goal.targets.items()
    ]
    counts = limits.high.copy() if limits.largest else limits.low.copy()
    having = {label: strata.having(label) for label in strata.names()}
    _check_min_per_label(having, strata, goal)
    gap, unspread = 0.0, 0
    unsolved: list[_Part] = []
    for part in _iter_parts(having, strata, goal, members):
        solution = _solve_part(part, goal, limits)
        if solution is None:
            unsolved.append(part)
            continue
        spread = _make_proportional(part, strata, goal, limits, members, solution.counts)
        counts[part.positions] = solution.counts if spread is None else spread
        unspread += spread is None
        gap = max(gap, solution.gap)
    if unsolved:
        raise DataError(_explain(unsolved, strata, goal, limits, members))
    return Solution(counts, gap, unspread == 0)


def _check_min_per_label(having: Mapping[str, Ints], strata: Strata, goal: Goal) -> None:
    for label, positions in having.items():
        there = int(strata.counts[positions].sum())
        if there < goal.min_per_label:
            raise DataError(
                f"{label} has {there:,} records, fewer than the {goal.min_per_label:,} that "
                "every label must keep; lower --min-per-label"
            )


def _iter_parts(
    having: Mapping[str, Ints], strata: Strata, goal: Goal, members: Sequence[Members]
) -> Iterator[_Part]:
    if not goal.within:
        every = np.arange(len(strata))
        min_count = _mark(list(having.values()) if goal.min_per_label else [], every)
        rows = _stack_rows([every], every, goal, members)
        yield _Part((None,), every, rows, _mark([every], every), min_count)
        return
    for labels in _join_labels(strata):
        some = [having[label] for label in labels]
        positions = np.unique(np.concatenate(some))
        marks = _mark(some, positions)
        yield _Part(labels, positions, _stack_rows(some, positions, goal, members), marks, marks)


def _join_labels(strata: Strata) -> list[tuple[str, ...]]:
    """Connected components of labels: no record has labels of two components."""
    above = {name: name for name in strata.names()}

    def top(name: str) -> str:
        while above[name] != name:
            above[name] = above[above[name]]
            name = above[name]
        return name

    for labels in strata.labels:
        named = [name for name in labels if name in above]
        for name in named[1:]:
            above[top(name)] = top(named[0])
    sets: dict[str, list[str]] = {}
    for name in above:
        sets.setdefault(top(name), []).append(name)
    return [tuple(names) for names in sets.values()]


def _mark(having: Sequence[Ints], positions: Ints) -> csr_array:
    """Indicator matrix, shape (labels, positions)."""
    rows = [_spread(np.ones((1, len(some))), np.searchsorted(positions, some), len(positions))
            for some in having]  # fmt: skip
    return csr_array(vstack(rows)) if rows else csr_array((0, len(positions)))


def _stack_rows(
    having: Sequence[Ints], positions: Ints, goal: Goal, members: Sequence[Members]
) -> csr_array:
    """Constraints of every label and grouping."""
    rows = [
        _spread(
            _signs(each.people[some], goal, number),
            np.searchsorted(positions, some),
            len(positions),
        )
        for some in having
        for number, each in enumerate(members)
    ]
    return csr_array(vstack(rows))


def _signs(people: Floats, goal: Goal, grouping: int) -> Floats:
    """Both sides of every group's constraint, 2·G×K: ±(S - t·N) - tolerance·N."""
    target = np.array(list(tuple(goal.targets.values())[grouping].values()))
    known = people.sum(axis=1)
    deviation = people.T - target[:, None] * known
    slack = goal.tolerance * known
    return np.concatenate([deviation - slack, -deviation - slack])


def _spread(block: Floats, columns: Ints, width: int) -> csr_array:
    """Embed the columns of a block in a wider matrix of zeros."""
    sparse = coo_array(block)
    where = (sparse.coords[0], columns[sparse.coords[1]])
    return csr_array((sparse.data, where), shape=(len(block), width))


def _solve_part(part: _Part, goal: Goal, limits: Search) -> Solution | None:
    """Solve one part; None if it is infeasible."""
    low, high = limits.low[part.positions], limits.high[part.positions]
    sign = -1.0 if limits.largest else 1.0
    result = milp(
        np.full(len(part.positions), sign),
        integrality=np.ones(len(part.positions)),
        bounds=Bounds(low, high),
        constraints=[
            LinearConstraint(part.rows, -np.inf, 0.0),
            LinearConstraint(part.min_count, goal.min_per_label, np.inf),
        ],
        options={"mip_rel_gap": 0.0, "time_limit": _SECONDS},
    )
    if result.x is None and result.status != _INFEASIBLE:
        raise DataError(
            f"no solution was found in {_SECONDS:g} s; raise --tolerance or use fewer attributes"
        )
    if result.x is None:
        return None
    found = np.rint(result.x).astype(np.int64)
    return Solution(found, max(0.0, float(result.mip_gap or 0.0)))


def _make_proportional(
    part: _Part,
    strata: Strata,
    goal: Goal,
    limits: Search,
    members: Sequence[Members],
    optimal: Ints,
) -> Ints | None:
    """Second stage: the proportional allocation of the same size; None if none was found."""
    positions = part.positions
    bounds = proportional.Limits(limits.low[positions], limits.high[positions])
    totals = _totals(part, goal, members, optimal)
    own = Strata(
        strata.attributes,
        tuple(strata.people[position] for position in positions),
        tuple(strata.labels[position] for position in positions),
        strata.counts[positions],
    )
    before = measure_associations(own, own.counts.astype(np.float64), limits.label)
    values = [people[0] for people in own.people] if own.are_single else []
    fits: list[tuple[float, Floats]] = []
    for reference in proportional.iter_references(values, own.counts):
        scaled = np.maximum(reference, 1e-9) * (optimal.sum() / max(reference.sum(), 1.0))
        fitted = proportional.fit_table(scaled, bounds, totals)
        after = measure_associations(own, fitted, limits.label)
        growth = max((after[pair] - before[pair] for pair in before), default=0.0)
        fits.append((max(0.0, growth - _GROWTH), fitted))
    fitted = min(fits, key=lambda fit: fit[0])[1]  # the first of equal ones: the observed table
    name = zlib.crc32("\0".join(map(str, part.labels)).encode())
    random = np.random.default_rng([limits.seed, name])
    return proportional.round_table(fitted, bounds, totals, random)


def _totals(
    part: _Part, goal: Goal, members: Sequence[Members], optimal: Ints
) -> proportional.Totals:
    """The totals that every allocation of the optimal size has to keep."""
    size = len(part.positions)
    rows, low, high = (
        [csr_array(np.ones((1, size)))],
        [float(optimal.sum())],
        [float(optimal.sum())],
    )
    for label in range(len(part.labels)):
        own = part.having[[label]].toarray()[0]
        for each, target in zip(members, goal.targets.values(), strict=True):
            people = each.people[part.positions] * own[:, None]
            known = float(people.sum(axis=1) @ optimal)
            shares = np.array(list(target.values()))
            rows += [csr_array(people.sum(axis=1)[None, :]), csr_array(people.T)]
            low += [known, *(np.maximum(0.0, shares - goal.tolerance) * known - _SLACK)]
            high += [known, *((shares + goal.tolerance) * known + _SLACK)]
    if part.min_count.shape[0]:
        rows.append(part.min_count)
        low += [float(goal.min_per_label)] * part.min_count.shape[0]
        high += [np.inf] * part.min_count.shape[0]
    return proportional.Totals(csr_array(vstack(rows)), np.array(low), np.array(high))


def _explain(
    parts: Sequence[_Part], strata: Strata, goal: Goal, limits: Search, members: Sequence[Members]
) -> str:
    """Why the program is infeasible: the fewest records that would have to be added, and where."""
    shortages = [
        shortage
        for part in parts
        for shortage in _find_shortages(part, strata, goal, limits, members)
    ]
    if not shortages:
        named = [label for part in parts for label in part.labels if label is not None]
        within = f" of {', '.join(named[:_SHOWN])}" if named else ""
        keeping = (
            f" and keeps {goal.min_per_label:,} of every label" if goal.min_per_label > 1 else ""
        )
        lower = ", or lower --min-per-label" if keeping else ""
        return (
            f"no whole number of records{within} meets the target within {goal.tolerance:g}"
            f"{keeping}; raise --tolerance{lower}"
        )
    shortages.sort(key=lambda each: -each.needed)
    shown = "; ".join(map(str, shortages[:_SHOWN]))
    more = f"; and {len(shortages) - _SHOWN:,} more" if len(shortages) > _SHOWN else ""
    return (
        f"the target cannot be met; too few records of: {shown}{more}; raise --tolerance, "
        "change the target, or collect more"
    )


def _find_shortages(
    part: _Part, strata: Strata, goal: Goal, limits: Search, members: Sequence[Members]
) -> list[Shortage]:
    """Elastic program: minimize the number of added records that make it feasible."""
    cells = [
        (label, grouping, group)
        for label in range(len(part.labels))
        for grouping, each in enumerate(members)
        for group in range(len(each.groups))
    ]
    real, phantom = len(part.positions), len(cells)
    shadows = [
        _signs(np.eye(len(each.groups)), goal, position) for position, each in enumerate(members)
    ]
    of_label = np.zeros((part.min_count.shape[0], phantom))
    if goal.within:
        for position, (label, grouping, _) in enumerate(cells):
            of_label[label, position] = grouping == 0
    result = linprog(
        np.concatenate([np.zeros(real), np.ones(phantom)]),
        A_ub=vstack(
            [
                hstack([part.rows, csr_array(block_diag(shadows * len(part.labels)))]),
                -hstack([part.min_count, csr_array(of_label)]),
            ]
        ),
        b_ub=np.concatenate(
            [np.zeros(part.rows.shape[0]), np.full(part.min_count.shape[0], -goal.min_per_label)]
        ),
        bounds=np.stack(
            [
                np.concatenate([limits.low[part.positions], np.zeros(phantom)]),
                np.concatenate([limits.high[part.positions], np.full(phantom, np.inf)]),
            ],
            axis=1,
        ),
        method="highs",
    )
    if result.x is None:
        return []
    shortages = []
    for (label, grouping, group), needed in zip(cells, result.x[real:], strict=True):
        if needed > 1e-6:
            each = members[grouping]
            own = part.having[[label]].toarray()[0] > 0
            there = strata.counts[part.positions][own] @ each.people[part.positions][own, group]
            shortages.append(
                Shortage(
                    part.labels[label], each.columns, each.groups[group], int(there),
                    math.ceil(needed / limits.times - 1e-6),
                )
            )  # fmt: skip
    return shortages
