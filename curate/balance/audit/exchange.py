"""A census as plain values and back: what sites share, and what their audits are joined from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from curate.balance.cells import Cells, Columns, Order, Table, add_cells, add_up
from curate.balance.census import Census, Plan
from curate.core.errors import DataError


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
