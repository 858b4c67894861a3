"""The counts of a dataset, from which all statistics are computed; serialization and merging."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from curate.balance.contingency import (
    MAX_LABELS,
    MAX_VALUES,
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

MAX_CROSSED = 8
"""Maximum number of attributes for coverage."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to count.

    Args:
        by: attributes, alone or crossed.
        label: the column of labels, or None.
        outcomes: columns with the outcome of `curate blur` for each record.
        crossed: the attributes for coverage; empty for no coverage.
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
        """Columns whose rates are compared between groups: labels and outcomes."""
        return (*((self.label,) if self.label else ()), *self.outcomes)

    @property
    def margins(self) -> tuple[Columns, ...]:
        """Combinations of attributes to count, including all subsets, smallest first.

        The subsets are the margins that tables share, which suppression depends on.
        """
        parts = {
            part for group in self.by for k in range(len(group) + 1) for part in _parts(group, k)
        }
        return tuple(sorted(parts, key=lambda part: (len(part), part)))


@dataclass(frozen=True, slots=True)
class Census:
    """The counts of a dataset.

    Args:
        plan: what was counted.
        records: number of records.
        tables: contingency tables by columns; a label is the first column.
        single: columns of labels with exactly one label per unit.
        cells: sparse table of the attributes for coverage, or None.
        noise: scale of Laplace noise on every count; 0 for none.
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
        """The key of ``tables`` for these columns."""
        label = tuple(name for name in columns if name in self.plan.labels)
        return (*label, *sorted(name for name in columns if name not in label))

    @property
    def total(self) -> Table:
        """The grand total."""
        return self.tables[()]


def count(units: Iterable[Unit], reading: Reading, plan: Plan, order: Order) -> Census:
    """Count the units of a dataset.

    Args:
        units: the units, with the plan's attributes and labels in order.
        reading: how they were converted.
        plan: what to count.
        order: the order of values, by column.

    Raises:
        DataError: if a column has too many values.
    """
    attributes, positions = reading.attributes, range(len(reading.labels))
    groups = Counting(attributes, [MAX_VALUES] * len(attributes))
    labeled = [
        Counting((name, *attributes), [MAX_LABELS, *[MAX_VALUES] * len(attributes)])
        for name in reading.labels
    ]
    single = dict.fromkeys(reading.labels, True)
    for unit in units:
        groups.add(unit.groups, unit.times)
        for position in positions:
            names = unit.labels[position]
            single[reading.labels[position]] &= len(names) == 1
            for name in names:
                labeled[position].add((name, *unit.groups), unit.times)
    joint = collect_cells(attributes, groups.counted, order)
    tables = {columns: joint.cross(columns) for columns in plan.margins}
    for counting in labeled:
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
    positions = [joint.columns.index(name) for name in columns]
    counted: dict[tuple[str, ...], int] = {}
    for row, times in zip(joint.codes[:, positions].tolist(), joint.counts.tolist(), strict=True):
        key = tuple(
            joint.values[position][code] for position, code in zip(positions, row, strict=True)
        )
        counted[key] = counted.get(key, 0) + times
    return collect_cells(columns, counted, order)


def census_to_dict(census: Census) -> dict[str, Any]:
    """Plain values for JSON; suppressed counts are null."""
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
    """Parse the output of `census_to_dict`.

    Raises:
        KeyError, TypeError, ValueError: if it is malformed.
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
        raise ValueError("its tables do not match its plan")
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
        raise ValueError("a cell has an unknown value or no count")
    return Cells(tuple(value["columns"]), values, codes, counts)


def _to_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is not a count")
    return value


def merge(parts: Sequence[Census], order: Order) -> Census:
    """Add the counts of several sites; equals counting all records together.

    Suppressed counts stay suppressed. No record may be counted at two sites.

    Args:
        parts: at least one; all with the same plan.
        order: the order of values, by column.

    Raises:
        DataError: if the plans differ.
    """
    plan = parts[0].plan
    for part in parts[1:]:
        if part.plan != plan:
            raise DataError(
                "the audits count different things and cannot be merged; "
                "run each with the same --by, --label and --manifest"
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
        # Noise of the summed scale bounds the noise of the sum.
        noise=math.fsum(part.noise for part in parts),
    )
