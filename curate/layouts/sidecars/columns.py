"""Columns of tables: what their values count as, and which are over the limits."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.layouts.sidecars.budget import (
    CODE,
    FLAG,
    LONG,
    NUMBER,
    RECORD,
    Budget,
    OverLimitError,
    cost_of_value,
)
from curate.layouts.sidecars.content import kind_of_key
from curate.layouts.sidecars.shapes import EMBEDDING, group_numbered
from curate.layouts.sidecars.values import Limits


def find_numbered(batch: Any) -> dict[str, Any]:
    """Return numbered columns with the rows that have more in them than a record may have."""
    names = [each.name for each in batch.schema if is_number(each.type) or is_string(each.type)]
    found: dict[str, Any] = {}
    for keys in group_numbered(names).values():
        if len(keys) >= EMBEDDING:
            rows = sum(count_numbers(batch.column(key)) for key in keys) > RECORD
            found |= dict.fromkeys(keys, rows) if rows.any() else {}
    return found


def count_numbers(column: Any) -> Any:
    """Return what each value of a column counts as that is a number; int, shape (N,)."""
    if not is_number(column.type):
        return np.array([cost_of_value(value) for value in column.to_pylist()], np.int64)
    values = np.asarray(column.cast("float64", safe=False).fill_null(np.nan))
    size = np.abs(values)
    is_whole = size % 1 == 0
    counts = np.select(
        [(size == 1) | (values == 0), is_whole & (size < 16), is_whole & (size >= 1 << 32)],
        [FLAG, CODE, LONG],
        NUMBER,
    )
    return np.where(np.asarray(column.is_null()), 0, counts)


def drop_rows(name: str, column: Any, rows: Any, limits: Limits) -> Any:
    """Return a column without the values of some rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = pc.if_else(pa.array(rows), pa.scalar(None, column.type), column)
    if dropped := kept.null_count - column.null_count:
        limits.drop(name, dropped)
    return kept


def drop_all(name: str, column: Any, limits: Limits) -> Any:
    """Return an empty column of the type of one, whose values are counted as dropped."""
    import pyarrow as pa

    count = len(column) - column.null_count
    if count:
        limits.drop(name, count)
    return pa.nulls(len(column), column.type)


def is_bytes(kind: Any) -> bool:
    """Return whether a type is of bytes."""
    return "binary" in str(kind) and "string" not in str(kind)


def is_string(kind: Any) -> bool:
    """Return whether a type is of texts."""
    return "string" in str(kind)


def is_number(kind: Any) -> bool:
    """Return whether a type is of numbers."""
    import pyarrow as pa

    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def limit_plain(name: str, column: Any, limits: Limits, budgets: list[Budget]) -> Any:
    """Return a column of numbers, truth values or dates, without those over the limits."""
    import pyarrow as pa

    if is_number(column.type):
        counts = count_numbers(column).tolist()
    else:
        is_flag = pa.types.is_boolean(column.type)
        counts = [(FLAG if is_flag else NUMBER) * valid for valid in column.is_valid().to_pylist()]
    over = np.zeros(len(column), bool)
    for number, (budget, count) in enumerate(zip(budgets, counts, strict=True)):
        budget.is_own = budget.boxed == 1
        try:
            budget.spend_data(count)
        except OverLimitError:
            over[number] = True
    if over.any():
        column = drop_rows(name, column, over, limits)
    limits.note(kind_of_key(name), name, len(column) - column.null_count)
    return column.take(pa.array(np.arange(len(column))))
