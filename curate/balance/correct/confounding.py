"""Side effects of a correction: associations between columns, emptied cells, base rates.

A correction meets its targets in many ways. These figures show whether the selected one
makes attributes and labels more dependent (Cramér's V over all pairs), empties intersections, or
changes how frequent labels are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from curate.balance.audit.representation import format_group
from curate.balance.contingency import Ints
from curate.balance.correct.comparison import cramers_v
from curate.balance.correct.goal import Allocation
from curate.balance.correct.options import BalanceOptions
from curate.balance.correct.strata import Strata
from curate.balance.groups import MISSING
from curate.core.intervals import Floats

Pair = tuple[str, str]
"""Two columns."""

GROWTH = 0.01
"""Increase of an association, and change of a base rate, above which a warning is given."""

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Emptied:
    """Cells that had records before.

    Args:
        cells: number of cells with records before.
        emptied: number of them without records after.
        examples: some of the emptied cells.
    """

    cells: int
    emptied: int
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Confounding:
    """Side effects of a correction.

    Args:
        associations: Cramér's V before and after, by pair of columns.
        groups: cells of all attributes crossed.
        labeled: cells of all attributes and the label crossed; None without labels.
        base_rates: share of all records with each label, before and after.
    """

    associations: Mapping[Pair, tuple[float, float]]
    groups: Emptied
    labeled: Emptied | None
    base_rates: Mapping[str, tuple[float, float]]

    @property
    def growing(self) -> list[Pair]:
        """Pairs whose association grows by more than `GROWTH`, the largest growth first."""
        growth = {pair: after - before for pair, (before, after) in self.associations.items()}
        return sorted((pair for pair in growth if growth[pair] > GROWTH), key=lambda p: -growth[p])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "associations": [
                {
                    "columns": list(pair),
                    "before": round(before, 6),
                    "after": round(after, 6),
                    "grows": pair in self.growing,
                }
                for pair, (before, after) in self.associations.items()
            ],
            "emptied": {
                name: None
                if each is None
                else {
                    "cells": each.cells,
                    "emptied": each.emptied,
                    "examples": list(each.examples),
                }
                for name, each in (("attributes", self.groups), ("with_labels", self.labeled))
            },
            "base_rates": {
                label: {"before": round(before, 6), "after": round(after, 6)}
                for label, (before, after) in self.base_rates.items()
            },
        }

    def warnings(self, remedy: str, intended: str | None = None) -> Iterator[str]:
        """What grew or vanished, one sentence each.

        Args:
            remedy: what to do about associations that grow, such as `find_remedy` returns.
            intended: a label whose base rate the correction is meant to change.
        """
        if self.growing:
            shown = "; ".join(
                "{} and {} {:.3f} → {:.3f}".format(*pair, *self.associations[pair])
                for pair in self.growing[:_SHOWN]
            )
            grow = "association grows" if len(self.growing) == 1 else "associations grow"
            yield (
                f"Warning: {len(self.growing):,} {grow} (Cramér's V): {shown}. A "
                f"model trained on the result can use one as a proxy for the other; {remedy}."
            )
        if self.groups.emptied:
            yield (
                f"Warning: {self.groups.emptied:,} of {self.groups.cells:,} intersections of the "
                f"attributes become empty, such as {'; '.join(self.groups.examples)}."
            )
        moved = {
            label: after - before
            for label, (before, after) in self.base_rates.items()
            if label != intended and abs(after - before) > GROWTH
        }
        if moved:
            largest = sorted(moved, key=lambda label: -abs(moved[label]))[:_SHOWN]
            shown = "; ".join(
                "{} {:.1%} → {:.1%}".format(label, *self.base_rates[label]) for label in largest
            ).replace("%", " %")
            yield f"Warning: the base rates of {len(moved):,} labels change: {shown}."


def find_remedy(options: BalanceOptions) -> str:
    """Return what can be done about associations that grow, given what was done."""
    columns = [name for group in options.groupings for name in group]
    crossed = [group for group in options.groupings if len(group) > 1]
    advice = []
    if len(dict.fromkeys(columns)) > 1 and len(options.groupings) > 1:
        names = ",".join(dict.fromkeys(columns))
        advice.append(f"cross the attributes (--by {names})")
    if options.label is not None and not options.within and options.strategy != "augment-positive":
        advice.append(f"meet the target within each label (--within {options.label})")
    if options.strategy == "reweigh" and options.target != "observed":
        advice.append("make groups and labels independent (--target observed)")
    if options.strategy not in ("reweigh", "labels"):
        advice.append("use --strategy reweigh")
    if not advice:
        name = "add one of the pair to --by" if not crossed else "cross fewer attributes"
        advice.append(f"{name}, or train on the original and report results by group")
    return ", or ".join(advice)


def measure_confounding(strata: Strata, allocation: Allocation, label: str | None) -> Confounding:
    """Measure the side effects of an allocation.

    Args:
        strata: K strata.
        allocation: records to keep and add, and weights.
        label: name of the column of labels, or None.
    """
    was, now = strata.counts.astype(np.float64), allocation.mass
    before = measure_associations(strata, was, label)
    after = measure_associations(strata, now, label)
    labels = strata.names() if label is not None else ()
    return Confounding(
        associations={pair: (before[pair], after[pair]) for pair in before},
        groups=_find_emptied(strata, was, now, with_labels=False),
        labeled=_find_emptied(strata, was, now, with_labels=True) if labels else None,
        base_rates=dict(_iter_base_rates(strata, was, now) if labels else ()),
    )


def _iter_base_rates(
    strata: Strata, was: Floats, now: Floats
) -> Iterator[tuple[str, tuple[float, float]]]:
    sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in strata.names()}
    for names, before, after in zip(strata.labels, was.tolist(), now.tolist(), strict=True):
        for name in names:
            if name in sums:
                sums[name][0] += before
                sums[name][1] += after
    totals = float(was.sum()), float(now.sum())
    for name, (before, after) in sums.items():
        yield name, (before / totals[0], after / totals[1] if totals[1] else 0.0)


def _find_emptied(strata: Strata, was: Floats, now: Floats, with_labels: bool) -> Emptied:
    """Cells with records before and none after; missing values are not counted."""
    sums: dict[tuple[str, ...], list[float]] = {}
    for position, people in enumerate(strata.people):
        for group in people:
            names = strata.labels[position] if with_labels else ("",)
            for name in names:
                if MISSING in group or name == MISSING:
                    continue
                cell = sums.setdefault((*group, name) if name else group, [0.0, 0.0])
                cell[0] += was[position]
                cell[1] += now[position]
    emptied = sorted(cell for cell, (before, after) in sums.items() if before and not after)
    return Emptied(len(sums), len(emptied), tuple(map(format_group, emptied[:_SHOWN])))


def measure_associations(strata: Strata, mass: Floats, label: str | None) -> dict[Pair, float]:
    """Cramér's V between every two attributes, and between the label and every attribute.

    Units with a missing value of a pair are not counted in it.

    Args:
        strata: K strata.
        mass: total weight per stratum, shape (K,).
        label: name of the column of labels, or None.
    """
    rows = [n for n, people in enumerate(strata.people) for _ in people]
    people = [one for everyone in strata.people for one in everyone]
    weights = mass[rows]
    columns = {
        name: _encode([one[position] for one in people])
        for position, name in enumerate(strata.attributes)
    }
    found = {
        (one, other): cramers_v(_cross(columns[one], columns[other], weights))
        for one, other in combinations(strata.attributes, 2)
    }
    if label is not None:
        named = [(n, name) for n, row in enumerate(rows) for name in strata.labels[row] if name]
        positions = np.array([n for n, _ in named], dtype=np.int64)
        labels = _encode([name for _, name in named])
        found |= {
            (label, name): cramers_v(_cross(labels, column[positions], weights[positions]))
            for name, column in columns.items()
        }
    return found


def _encode(values: list[str]) -> Ints:
    """Integer codes; -1 for missing values."""
    codes = {value: n for n, value in enumerate(sorted(set(values) - {MISSING}))}
    return np.array([codes.get(value, -1) for value in values], dtype=np.int64)


def _cross(one: Ints, other: Ints, weights: Floats) -> Floats:
    known = (one >= 0) & (other >= 0)
    if not known.any():
        return np.zeros((0, 0))
    table = np.zeros((int(one[known].max()) + 1, int(other[known].max()) + 1))
    np.add.at(table, (one[known], other[known]), weights[known])
    return table
