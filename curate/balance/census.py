"""Everything that is counted of a dataset: the only thing that figures are made from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from curate.balance.contingency import (
    MOST_LABELS,
    MOST_VALUES,
    Cells,
    Columns,
    Counting,
    Order,
    Table,
    add_cells,
    add_up,
    collect_cells,
)
from curate.balance.groups import Reading, Unit
from curate.core.errors import DataError

MOST_CROSSED = 8
"""Attributes that coverage looks at together."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to count.

    Args:
        by: the attributes to look at, alone or crossed with each other.
        label: the column of labels, or None.
        outcomes: columns of what became of each record, one value each.
        crossed: the attributes that coverage looks at; none for no coverage.
    """

    by: tuple[Columns, ...]
    label: str | None = None
    outcomes: tuple[str, ...] = ()
    crossed: Columns = ()

    @property
    def attributes(self) -> Columns:
        """Every attribute, in the order in which it was first named."""
        return tuple(dict.fromkeys(name for group in self.by for name in group))

    @property
    def labels(self) -> Columns:
        """Columns that are told apart by group: labels and what became of each record."""
        return (*((self.label,) if self.label else ()), *self.outcomes)

    @property
    def margins(self) -> tuple[Columns, ...]:
        """Combinations of attributes that are counted, each with all of its parts, the least first.

        The parts are what the counts of two combinations have in common, which
        hiding small counts has to know.
        """
        parts = {
            part for group in self.by for k in range(len(group) + 1) for part in _parts(group, k)
        }
        return tuple(sorted(parts, key=lambda part: (len(part), part)))


@dataclass(frozen=True, slots=True)
class Census:
    """What was counted.

    Args:
        plan: what was asked for.
        records: how many records there are.
        tables: by columns; those of a label have it as their first column.
        single: columns of labels of which everything counted has exactly one.
        cells: combinations of the attributes that coverage looks at, or None.
        noise: the scale of Laplace noise on every count; 0 for none.
    """

    plan: Plan
    records: int
    tables: Mapping[Columns, Table]
    single: frozenset[str] = frozenset()
    cells: Cells | None = None
    noise: float = 0.0

    def table(self, *columns: str) -> Table:
        """The table of some columns, in the order of the columns given."""
        sorted_columns = self.key(columns)
        table = self.tables[sorted_columns]
        axes = [sorted_columns.index(name) for name in columns]
        return Table(
            columns,
            tuple(table.values[axis] for axis in axes),
            np.transpose(table.counts, axes),
            np.transpose(table.hidden, axes),
        )

    def key(self, columns: Columns) -> Columns:
        """Under which columns a table of these stands."""
        label = tuple(name for name in columns if name in self.plan.labels)
        return (*label, *sorted(name for name in columns if name not in label))

    @property
    def total(self) -> Table:
        """The count of everything."""
        return self.tables[()]


def count(units: Iterable[Unit], reading: Reading, plan: Plan, order: Order) -> Census:
    """Count what is in a dataset.

    Args:
        units: what is counted, with the plan's attributes and labels in their order.
        reading: how they were read.
        plan: what to count.
        order: columns whose values have an order of their own.

    Raises:
        DataError: if a column has too many values.
    """
    attributes, places = reading.attributes, range(len(reading.labels))
    groups = Counting(attributes, [MOST_VALUES] * len(attributes))
    labelled = [
        Counting((name, *attributes), [MOST_LABELS, *[MOST_VALUES] * len(attributes)])
        for name in reading.labels
    ]
    single = dict.fromkeys(reading.labels, True)
    for unit in units:
        groups.add(unit.groups, unit.times)
        for place in places:
            names = unit.labels[place]
            single[reading.labels[place]] &= len(names) == 1
            for name in names:
                labelled[place].add((name, *unit.groups), unit.times)
    joint = collect_cells(attributes, groups.counted, order)
    tables = {columns: joint.cross(columns) for columns in plan.margins}
    for counting in labelled:
        cells = collect_cells(counting.columns, counting.counted, order)
        tables |= {
            (cells.columns[0], *part): cells.cross((cells.columns[0], *part))
            for part in plan.margins
        }
    held = frozenset(name for name, only_one in single.items() if only_one)
    crossed = _cross(joint, plan.crossed, order) if plan.crossed else None
    return Census(plan, joint.total, tables, held, crossed)


def _parts(group: Columns, size: int) -> Iterator[Columns]:
    for part in combinations(group, size):
        yield tuple(sorted(part))


def _cross(joint: Cells, columns: Columns, order: Order) -> Cells:
    places = [joint.columns.index(name) for name in columns]
    counted: dict[tuple[str, ...], int] = {}
    for row, times in zip(joint.codes[:, places].tolist(), joint.counts.tolist(), strict=True):
        key = tuple(joint.values[place][code] for place, code in zip(places, row, strict=True))
        counted[key] = counted.get(key, 0) + times
    return collect_cells(columns, counted, order)


def census_to_dict(census: Census) -> dict[str, Any]:
    """What was counted, for JSON; hidden counts are null."""
    plan = census.plan
    return {
        "plan": {
            "by": [list(group) for group in plan.by],
            "label": plan.label,
            "outcomes": list(plan.outcomes),
            "crossed": list(plan.crossed),
        },
        "single": sorted(census.single),
        "tables": [_table_to_dict(table) for table in census.tables.values()],
        "cells": None if census.cells is None else _cells_to_dict(census.cells),
    }


def census_from_dict(value: Mapping[str, Any], records: int) -> Census:
    """The census that plain values stand for.

    Raises:
        KeyError, TypeError, ValueError: if they stand for none.
    """
    plan = Plan(
        by=tuple(tuple(group) for group in value["plan"]["by"]),
        label=value["plan"]["label"],
        outcomes=tuple(value["plan"]["outcomes"]),
        crossed=tuple(value["plan"]["crossed"]),
    )
    tables = {tuple(each["columns"]): _table_from_dict(each) for each in value["tables"]}
    wanted: set[Columns] = {
        (*label, *part)
        for part in plan.margins
        for label in ((), *((name,) for name in plan.labels))
    }
    if set(tables) != wanted:
        raise ValueError("its tables are not those of its plan")
    cells = None if value["cells"] is None else _cells_from_dict(value["cells"])
    return Census(plan, records, tables, frozenset(value["single"]), cells)


def _table_to_dict(table: Table) -> dict[str, Any]:
    counts = zip(table.counts.ravel().tolist(), table.hidden.ravel().tolist(), strict=True)
    return {
        "columns": list(table.columns),
        "values": [list(values) for values in table.values],
        "counts": [None if hidden else count for count, hidden in counts],
    }


def _table_from_dict(value: Mapping[str, Any]) -> Table:
    values = tuple(tuple(map(str, each)) for each in value["values"])
    shape = tuple(map(len, values))
    hidden = np.array([count is None for count in value["counts"]], dtype=np.bool_)
    counts = np.array([_to_count(count or 0) for count in value["counts"]], dtype=np.int64)
    return Table(tuple(value["columns"]), values, counts.reshape(shape), hidden.reshape(shape))


def _cells_to_dict(cells: Cells) -> dict[str, Any]:
    return {
        "columns": list(cells.columns),
        "values": [list(values) for values in cells.values],
        "rows": np.column_stack([cells.codes, cells.counts]).tolist(),
    }


def _cells_from_dict(value: Mapping[str, Any]) -> Cells:
    values = tuple(tuple(map(str, each)) for each in value["values"])
    rows = np.array(value["rows"], dtype=np.int64).reshape(-1, len(values) + 1)
    codes, counts = rows[:, :-1], rows[:, -1]
    if (codes < 0).any() or (codes >= [len(each) for each in values]).any() or (counts < 1).any():
        raise ValueError("a combination is of no value that there is")
    return Cells(tuple(value["columns"]), values, codes, counts)


def _to_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def merge(parts: Sequence[Census], order: Order) -> Census:
    """Add up what several sites counted; it is what would be counted of all their records.

    What one site hides stays hidden. No record may be at two sites.

    Args:
        parts: at least one; all counted the same.
        order: columns whose values have an order of their own.

    Raises:
        DataError: if they did not count the same.
    """
    plan = parts[0].plan
    for part in parts[1:]:
        if part.plan != plan:
            raise DataError(
                "the audits count different things and cannot be joined; "
                "make each with the same --by, --label and --manifest"
            )
    cells = [part.cells for part in parts if part.cells is not None]
    single = frozenset.intersection(*(part.single for part in parts))
    return Census(
        plan=plan,
        records=sum(part.records for part in parts),
        tables={
            columns: add_up([part.tables[columns] for part in parts], order)
            for columns in parts[0].tables
        },
        single=single,
        cells=add_cells(cells, order) if len(cells) == len(parts) else None,
        # The noise of a sum is hardly ever more than noise of the sum of the scales.
        noise=math.fsum(part.noise for part in parts),
    )
