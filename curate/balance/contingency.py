"""Counts of combinations: as few numbers as there are different ones, however many records."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.balance.groups import MISSING
from curate.core.errors import DataError

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Columns = tuple[str, ...]
Order = Mapping[str, Sequence[str]]

MAX_VALUES = 1_000
"""Maximum number of values of an attribute."""

MAX_LABELS = 20_000
"""Maximum number of labels."""

MAX_CELLS = 2_000_000
"""Maximum number of cells of a table."""


@dataclass(frozen=True, slots=True)
class Table:
    """A contingency table: a count for every combination of values.

    Args:
        columns: the crossed columns; none for the grand total.
        values: the values of each column, in order.
        counts: int64, one axis per column; 0 where suppressed.
        hidden: bool, same shape; which counts are suppressed.
    """

    columns: Columns
    values: tuple[tuple[str, ...], ...]
    counts: Ints
    hidden: Bools

    @property
    def whole(self) -> bool:
        """Whether no count is suppressed."""
        return not self.hidden.any()

    @property
    def total(self) -> int:
        """Sum of all counts that are not suppressed."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class Cells:
    """A sparse contingency table: the C combinations of K columns with their counts.

    Args:
        columns: the crossed columns.
        values: the values of each column, sorted; missing values last.
        codes: indices of the values, int64, shape (C, K); sorted and unique.
        counts: int64, shape (C,), all above 0.
    """

    columns: Columns
    values: tuple[tuple[str, ...], ...]
    codes: Ints
    counts: Ints

    @property
    def total(self) -> int:
        """Sum of all counts."""
        return int(self.counts.sum())

    def cross(self, columns: Columns) -> Table:
        """The dense table of some of the columns.

        Raises:
            DataError: if it would have too many cells.
        """
        positions = [self.columns.index(name) for name in columns]
        values = tuple(self.values[position] for position in positions)
        shape = tuple(map(len, values))
        if math.prod(shape) > MAX_CELLS:
            raise DataError(
                f"{','.join(columns)} has {math.prod(shape):,} combinations, more than "
                f"{MAX_CELLS:,}; cross fewer columns, or bin them"
            )
        flat = np.zeros(len(self.counts), dtype=np.int64)
        for position, size in zip(positions, shape, strict=True):
            flat = flat * size + self.codes[:, position]
        counts = np.zeros(math.prod(shape), dtype=np.int64)
        np.add.at(counts, flat, self.counts)
        counts = counts.reshape(shape)
        return Table(columns, values, counts, np.zeros(shape, dtype=np.bool_))


def collect_cells(columns: Columns, counted: Mapping[tuple[str, ...], int], order: Order) -> Cells:
    """Create a sparse table from counted combinations.

    Args:
        columns: the crossed columns.
        counted: count of each combination of values.
        order: the order of values, by column; others are sorted by name.
    """
    rows = list(counted)
    values: list[tuple[str, ...]] = []
    codes = np.empty((len(rows), len(columns)), dtype=np.int64)
    for position, name in enumerate(columns):
        column = [row[position] for row in rows]
        values.append(sort_values(set(column), order.get(name, ())))
        code = {value: number for number, value in enumerate(values[-1])}
        codes[:, position] = [code[value] for value in column]
    counts = np.fromiter(counted.values(), dtype=np.int64, count=len(rows))
    if columns:
        sorting = np.lexsort(codes.T[::-1])
        codes, counts = codes[sorting], counts[sorting]
    return Cells(columns, tuple(values), codes, counts)


def sort_values(values: set[str], order: Sequence[str] = ()) -> tuple[str, ...]:
    """Sort values by a given order or by name; missing values last."""
    rank = {value: number for number, value in enumerate(order)}
    return tuple(
        sorted(values, key=lambda value: (value == MISSING, rank.get(value, len(rank)), value))
    )


class Counting:
    """Counts combinations in a stream; rejects columns with too many values.

    Args:
        columns: the crossed columns.
        max_values: maximum number of values per column.
    """

    def __init__(self, columns: Columns, max_values: Sequence[int]) -> None:
        self.columns = columns
        self.counted: Counter[tuple[str, ...]] = Counter()
        self._max_values = max_values
        self._seen: list[set[str]] = [set() for _ in columns]

    def add(self, row: tuple[str, ...], times: int = 1) -> None:
        """Count one combination, once or several times.

        Raises:
            DataError: if a column has too many values.
        """
        self.counted[row] += times
        if self.counted[row] > times:
            return
        for name, value, seen, max_values in zip(
            self.columns, row, self._seen, self._max_values, strict=True
        ):
            seen.add(value)
            if len(seen) > max_values:
                raise DataError(
                    f"{name} has more than {max_values:,} values, the maximum for an attribute; "
                    "choose another column, or give its ranges with --bins"
                )


def add_up(parts: Sequence[Table], order: Order) -> Table:
    """Add the tables of several sites; suppressed counts stay suppressed.

    Args:
        parts: tables of the same columns; at least one.
        order: the order of values, by column.
    """
    columns = parts[0].columns
    values = _join_values([part.values for part in parts], columns, order)
    shape = tuple(map(len, values))
    counts, hidden = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    for part in parts:
        positions = [
            [values[position].index(value) for value in part.values[position]]
            for position in range(len(columns))
        ]
        where = np.ix_(*positions) if positions else ()
        counts[where] += part.counts
        hidden[where] |= part.hidden
    return Table(columns, values, np.where(hidden, 0, counts), hidden)


def add_cells(parts: Sequence[Cells], order: Order) -> Cells:
    """Add the sparse tables of several sites."""
    counted: Counter[tuple[str, ...]] = Counter()
    for part in parts:
        for row, count in zip(part.codes.tolist(), part.counts.tolist(), strict=True):
            counted[tuple(part.values[k][code] for k, code in enumerate(row))] += count
    return collect_cells(parts[0].columns, counted, order)


def _join_values(
    lists: Sequence[Sequence[Sequence[str]]], columns: Columns, order: Order
) -> tuple[tuple[str, ...], ...]:
    return tuple(
        sort_values({value for values in lists for value in values[position]}, order.get(name, ()))
        for position, name in enumerate(columns)
    )
