"""Proportional allocation at a fixed size: the least divergence from the observed table.

Many allocations meet a target with the same number of records. A vertex of the linear program
empties cells and makes attributes dependent; this module chooses the allocation x that minimizes
the Kullback-Leibler divergence sum(x log(x / q)) from a reference table q, subject to the same
totals of every group (Csiszár, *I-divergence geometry*, Annals of Probability 3, 1975). Without
bounds on x it is iterative proportional fitting (Deming and Stephan, 1940); with bounds it is the
same cyclic projection with x = clip(q exp(A'm), low, high).

The reference is the observed table, which keeps all odds ratios, unless that increases an
association (Cramér's V of a pair of attributes or labels), as it can where margins change; then it
is the table with independent attributes and the observed label rates in every cell, if the largest
increase is smaller.

The fitted table is rounded by an integer program that stays within one record per cell
(controlled rounding), with random costs, so that cells are rounded up with about their fraction
as probability (Cox, *A constructive procedure for unbiased controlled rounding*, JASA 82, 1987).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array, eye_array, hstack, vstack

from curate.balance.contingency import Ints
from curate.core.intervals import Floats

_SWEEPS = 300
_CLOSE = 1e-5  # change of a log multiplier at which fitting stops
_STEPS = 60  # bisections for one multiplier
_GUESSES = 8
_SEARCH = {"mip_rel_gap": 0.01, "node_limit": 2000}  # nodes, not seconds: deterministic


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """Intervals for R totals over K strata: low ≤ rows @ x ≤ high.

    Args:
        rows: nonnegative coefficients, shape (R, K).
        low: float64, shape (R,).
        high: float64, shape (R,).
    """

    rows: csr_array
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """Bounds of the number of records per stratum.

    Args:
        low: int64, shape (K,).
        high: int64, shape (K,).
    """

    low: Ints
    high: Ints


def fit_table(reference: Floats, bounds: Limits, totals: Totals) -> Floats:
    """Minimize the divergence from a reference table subject to totals and bounds.

    Args:
        reference: float64, shape (K,), above 0.
        bounds: bounds of each cell.
        totals: intervals of the totals; some x must satisfy them.

    Returns:
        The fitted table, float64, shape (K,).
    """
    low, high = bounds.low.astype(np.float64), bounds.high.astype(np.float64)
    logs = np.log(np.maximum(reference, 1e-300))
    rows = totals.rows
    members = [
        (rows.indices[start:end], rows.data[start:end])
        for start, end in zip(rows.indptr[:-1], rows.indptr[1:], strict=True)
    ]
    multipliers = np.zeros(len(members))
    for _ in range(_SWEEPS):
        worst = 0.0
        for number, (cells, weights) in enumerate(members):
            free = logs[cells] - weights * multipliers[number]
            ends = low[cells], high[cells]
            wanted = (totals.low[number], totals.high[number])
            step = _multiplier(free, weights, ends, wanted)
            worst = max(worst, abs(step - multipliers[number]))
            multipliers[number] = step
            logs[cells] = free + weights * step
        if worst < _CLOSE:
            break
    return np.clip(np.exp(np.minimum(logs, 700.0)), low, high)


def _multiplier(
    logs: Floats, weights: Floats, ends: tuple[Floats, Floats], wanted: tuple[float, float]
) -> float:
    """The multiplier of one total: 0 if it is inside its interval, else the root at its end."""

    def total(step: float) -> float:
        values = np.exp(np.minimum(logs + weights * step, 700.0))
        return float(weights @ np.minimum(np.maximum(values, ends[0]), ends[1]))

    now = total(0.0)
    goal = min(max(now, wanted[0]), wanted[1])
    if abs(now - goal) <= 1e-9 * max(1.0, goal):
        return 0.0
    step = 0.0
    for _ in range(_GUESSES):  # exact at once where no bound is active and all weights are 1
        if not (now > 0 and goal > 0 and abs(step) < 64):
            break
        step += float(np.log(goal / now))
        now = total(step)
        if abs(now - goal) <= 1e-9 * max(1.0, goal):
            return step
    now = total(0.0)
    below, above = (0.0, 1.0) if now < goal else (-1.0, 0.0)
    while above < 64 and total(above) < goal:
        above *= 2
    while below > -64 and total(below) > goal:
        below *= 2
    for _ in range(_STEPS):
        middle = (below + above) / 2
        if total(middle) < goal:
            below = middle
        else:
            above = middle
        if above - below < 1e-12:
            break
    return (below + above) / 2


def round_table(
    fitted: Floats, bounds: Limits, totals: Totals, random: np.random.Generator
) -> Ints | None:
    """Round a fitted table to integers that satisfy the totals exactly.

    Cells are rounded up or down; if no such table satisfies the totals, the integer table with
    the least sum of absolute differences from the fitted one is used.

    Args:
        fitted: float64, shape (K,).
        bounds: bounds of each cell.
        totals: intervals of the totals.
        random: source of the random costs.

    Returns:
        int64, shape (K,), or None if none was found within the node limit.
    """
    floor = np.floor(fitted + 1e-9)
    floor = np.clip(floor, bounds.low, bounds.high)
    above = (floor < bounds.high).astype(np.float64)
    costs = random.random(len(fitted)) - (fitted - floor)
    base = totals.rows @ floor
    result = milp(
        costs,
        integrality=np.ones(len(fitted)),
        bounds=Bounds(np.zeros(len(fitted)), above),
        constraints=[LinearConstraint(totals.rows, totals.low - base, totals.high - base)],
        options=_SEARCH,
    )
    if result.x is not None:
        rounded: Ints = (floor + np.rint(result.x)).astype(np.int64)
        return rounded
    return _nearest(fitted, bounds, totals, random)


def _nearest(
    fitted: Floats, bounds: Limits, totals: Totals, random: np.random.Generator
) -> Ints | None:
    """The integer table with the least sum of absolute differences from the fitted one."""
    size = len(fitted)
    identity = eye_array(size, format="csr")
    empty = csr_array((totals.rows.shape[0], size))
    sums = hstack([totals.rows, empty])
    above, below = hstack([identity, -identity]), hstack([-identity, -identity])
    costs = np.concatenate([np.zeros(size), 1 + 1e-3 * random.random(size)])
    result = milp(
        costs,
        integrality=np.concatenate([np.ones(size), np.zeros(size)]),
        bounds=Bounds(
            np.concatenate([bounds.low, np.zeros(size)]),
            np.concatenate([bounds.high, np.full(size, np.inf)]),
        ),
        constraints=[
            LinearConstraint(sums, totals.low, totals.high),
            LinearConstraint(vstack([above, below]), -np.inf, np.concatenate([fitted, -fitted])),
        ],
        options=_SEARCH,
    )
    if result.x is None:
        return None
    nearest: Ints = np.rint(result.x[:size]).astype(np.int64)
    return nearest


def iter_references(values: Sequence[tuple[str, ...]], counts: Ints) -> Iterator[Floats]:
    """The observed table, then the one with independent attributes.

    Args:
        values: the attributes' values of each stratum.
        counts: observed records per stratum, int64, shape (K,).
    """
    observed = counts.astype(np.float64)
    yield observed
    if not values or len(values[0]) < 2:
        return
    cells: dict[tuple[str, ...], float] = {}
    margins: list[dict[str, float]] = [{} for _ in values[0]]
    for row, count in zip(values, observed.tolist(), strict=True):
        cells[row] = cells.get(row, 0.0) + count
        for margin, value in zip(margins, row, strict=True):
            margin[value] = margin.get(value, 0.0) + count
    total = float(observed.sum())
    ratio = np.array(
        [
            total
            * float(np.prod([m[value] / total for m, value in zip(margins, row, strict=True)]))
            / max(cells[row], 1e-300)
            for row in values
        ]
    )
    yield observed * ratio


def split_counts(fitted: Ints, counts: Ints, pools: Ints, random: np.random.Generator) -> Ints:
    """Distribute the records of each pool over its strata, proportionally to their counts.

    Systematic sampling with a random start in random order: every stratum gets its proportional
    number rounded up or down, with the fraction as probability, and never more than its count.

    Args:
        fitted: records per pool, int64, shape (P,); at most the pool's count.
        counts: records per stratum, int64, shape (K,).
        pools: index of each stratum's pool, int64, shape (K,).
        random: source of the starts and orders.
    """
    found = np.zeros_like(counts)
    order = np.argsort(pools, kind="stable")
    limits = np.searchsorted(pools[order], np.arange(len(fitted) + 1))
    for pool, take in enumerate(fitted.tolist()):
        cells = order[limits[pool] : limits[pool + 1]]
        total = int(counts[cells].sum())
        if not take or not total:
            continue
        cells = random.permutation(cells)
        ends = np.cumsum(counts[cells]) * (take / total)
        ends[-1] = take
        found[cells] = np.diff(np.floor(ends + random.random()), prepend=0.0).astype(np.int64)
        found[cells[-1]] += take - int(found[cells].sum())
    return found
