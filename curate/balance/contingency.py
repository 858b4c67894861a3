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

MOST_VALUES = 1_000
"""Values that an attribute may have."""

MOST_LABELS = 20_000
"""Values that a column of labels may have."""

MOST_CELLS = 2_000_000
"""Combinations that one table may have."""


@dataclass(frozen=True, slots=True)
class Table:
    """A count for every combination of the values of some columns.

    Args:
        columns: what is crossed; none for the count of everything.
        values: the values of each column, in order.
        counts: an axis for each column; 0 where hidden.
        hidden: which counts must not be shown; as large as ``counts``.
    """

    columns: Columns
    values: tuple[tuple[str, ...], ...]
    counts: Ints
    hidden: Bools

    @property
    def whole(self) -> bool:
        """Whether every count is known."""
        return not self.hidden.any()

    @property
    def total(self) -> int:
        """The sum of all counts that are known."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class Cells:
    """The combinations that there are, each with its count.

    Args:
        columns: what is crossed.
        values: the values of each column, sorted; what is missing comes last.
        codes: C×K, the place of each combination's values; sorted, no combination twice.
        counts: C, all above 0.
    """

    columns: Columns
    values: tuple[tuple[str, ...], ...]
    codes: Ints
    counts: Ints

    @property
    def total(self) -> int:
        """How many were counted."""
        return int(self.counts.sum())

    def cross(self, columns: Columns) -> Table:
        """The table of some of the columns.

        Raises:
            DataError: if it would have too many cells.
        """
        places = [self.columns.index(name) for name in columns]
        values = tuple(self.values[place] for place in places)
        shape = tuple(map(len, values))
        if math.prod(shape) > MOST_CELLS:
            raise DataError(
                f"{','.join(columns)} has {math.prod(shape):,} combinations, more than "
                f"{MOST_CELLS:,}; cross fewer columns, or bin them"
            )
        flat = np.zeros(len(self.counts), dtype=np.int64)
        for place, size in zip(places, shape, strict=True):
            flat = flat * size + self.codes[:, place]
        counts = np.zeros(math.prod(shape), dtype=np.int64)
        np.add.at(counts, flat, self.counts)
        counts = counts.reshape(shape)
        return Table(columns, values, counts, np.zeros(shape, dtype=np.bool_))


def collect_cells(columns: Columns, counted: Mapping[tuple[str, ...], int], order: Order) -> Cells:
    """Turn counted combinations into numbers.

    Args:
        columns: what was crossed.
        counted: how often each combination of values was seen.
        order: columns whose values have an order of their own.
    """
    rows = list(counted)
    values: list[tuple[str, ...]] = []
    codes = np.empty((len(rows), len(columns)), dtype=np.int64)
    for place, name in enumerate(columns):
        column = [row[place] for row in rows]
        values.append(sort_values(set(column), order.get(name, ())))
        code = {value: number for number, value in enumerate(values[-1])}
        codes[:, place] = [code[value] for value in column]
    counts = np.fromiter(counted.values(), dtype=np.int64, count=len(rows))
    if columns:
        sorting = np.lexsort(codes.T[::-1])
        codes, counts = codes[sorting], counts[sorting]
    return Cells(columns, tuple(values), codes, counts)


def sort_values(values: set[str], order: Sequence[str] = ()) -> tuple[str, ...]:
    """Values in an order of their own or by name; what is missing comes last."""
    rank = {value: number for number, value in enumerate(order)}
    return tuple(
        sorted(values, key=lambda value: (value == MISSING, rank.get(value, len(rank)), value))
    )


class Counting:
    """Counts combinations as they come; refuses columns that name records, not groups.

    Args:
        columns: what is crossed.
        most: how many values each column may have.
    """

    def __init__(self, columns: Columns, most: Sequence[int]) -> None:
        self.columns = columns
        self.counted: Counter[tuple[str, ...]] = Counter()
        self._most = most
        self._seen: list[set[str]] = [set() for _ in columns]

    def add(self, row: tuple[str, ...], times: int = 1) -> None:
        """Count one combination, once or several times.

        Raises:
            DataError: if a column has more values than groups can be read.
        """
        self.counted[row] += times
        if self.counted[row] > times:
            return
        for name, value, seen, most in zip(self.columns, row, self._seen, self._most, strict=True):
            seen.add(value)
            if len(seen) > most:
                raise DataError(
                    f"{name} has more than {most:,} values: too many for groups; "
                    "choose another column, or give its ranges with --bins"
                )


def add_up(parts: Sequence[Table], order: Order) -> Table:
    """One table of the tables of several sites; what one of them hides stays hidden.

    Args:
        parts: tables of the same columns; at least one.
        order: columns whose values have an order of their own.
    """
    columns = parts[0].columns
    values = _join_values([part.values for part in parts], columns, order)
    shape = tuple(map(len, values))
    counts, hidden = np.zeros(shape, dtype=np.int64), np.zeros(shape, dtype=np.bool_)
    for part in parts:
        places = [
            [values[place].index(value) for value in part.values[place]]
            for place in range(len(columns))
        ]
        where = np.ix_(*places) if places else ()
        counts[where] += part.counts
        hidden[where] |= part.hidden
    return Table(columns, values, np.where(hidden, 0, counts), hidden)


def add_cells(parts: Sequence[Cells], order: Order) -> Cells:
    """The combinations of several sites together."""
    counted: Counter[tuple[str, ...]] = Counter()
    for part in parts:
        for row, count in zip(part.codes.tolist(), part.counts.tolist(), strict=True):
            counted[tuple(part.values[k][code] for k, code in enumerate(row))] += count
    return collect_cells(parts[0].columns, counted, order)


def _join_values(
    lists: Sequence[Sequence[Sequence[str]]], columns: Columns, order: Order
) -> tuple[tuple[str, ...], ...]:
    return tuple(
        sort_values({value for values in lists for value in values[place]}, order.get(name, ()))
        for place, name in enumerate(columns)
    )
