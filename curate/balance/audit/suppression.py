"""Cell suppression: small counts, and others from which they would follow.

Counts from 1 to below a minimum are suppressed (primary suppression). As tables of a report
share margins, a suppressed count could follow from published ones; further counts are
suppressed (complementary suppression; Willenborg and
de Waal, *Elements of Statistical Disclosure Control*, 2001, chapter 4) until

- a published sum has at least two suppressed addends, each of which could be as large as the
  minimum; and
- no suppressed count is determined by the linear system of all sums.

Counts of 0 are published, and are never used for complementary suppression.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.sparse.linalg import lsmr

from curate.balance.census import Census
from curate.balance.contingency import Bools, Columns, Ints, Table
from curate.core.errors import DataError
from curate.core.intervals import Floats

_DENSE = 1500  # suppressed counts up to which the system is solved directly
_CLOSE = 1e-5  # entries of a random solution below this do not vary
_WRONG = 1e-7  # tolerance for the sums


@dataclass(frozen=True, slots=True)
class Sum:
    """A count that is the sum of others, as indices into the concatenated counts."""

    total: int
    addends: npt.NDArray[np.int64]


def suppress(census: Census, min_cell: int) -> Census:
    """Suppress small counts in every table; the sparse table is dropped.

    Args:
        census: the counts.
        min_cell: smallest count to publish.

    Raises:
        DataError: if there are fewer units than that, or suppression is impossible.
    """
    if int(census.total.counts) < min_cell:
        raise DataError(
            f"there are fewer than --min-cell {min_cell:,} records; nothing can be published"
        )
    starts = _starts(census.tables)
    counts = np.concatenate([table.counts.ravel() for table in census.tables.values()])
    sums = list(iter_sums(census, starts))
    hidden = _Suppression(counts, sums, min_cell, starts[()]).run()
    tables = {
        columns: _hide(table, hidden[starts[columns] : starts[columns] + table.counts.size])
        for columns, table in census.tables.items()
    }
    return replace(census, tables=tables, cells=None)


def _starts(tables: Mapping[Columns, Table]) -> dict[Columns, int]:
    """Offset of each table in the concatenated counts."""
    starts: dict[Columns, int] = {}
    position = 0
    for columns, table in tables.items():
        starts[columns] = position
        position += table.counts.size
    return starts


def iter_sums(census: Census, starts: Mapping[Columns, int]) -> Iterator[Sum]:
    """Every count that is a sum of counts in a table with one more column."""
    for columns, table in census.tables.items():
        positions = starts[columns] + np.arange(table.counts.size).reshape(table.counts.shape)
        for axis, name in enumerate(columns):
            less = columns[:axis] + columns[axis + 1 :]
            if name in census.plan.labels and name not in census.single:
                continue  # a record with two labels counts in two rows of the table
            totals = starts[less] + np.arange(positions.size // positions.shape[axis])
            lines = np.moveaxis(positions, axis, -1).reshape(len(totals), -1)
            for total, addends in zip(totals.tolist(), lines, strict=True):
                yield Sum(total, addends)


class _Suppression:
    """Suppresses counts one by one until none follows from the others.

    Args:
        counts: all counts.
        sums: the sums among them.
        min_cell: smallest count to publish.
        everything: index of the grand total, which is always published.
    """

    def __init__(self, counts: Ints, sums: list[Sum], min_cell: int, everything: int) -> None:
        self._counts = counts
        self._sums = sums
        self._min_cell = min_cell
        self._everything = everything
        self._hidden: Bools = (counts > 0) & (counts < min_cell)
        self._of: dict[int, list[int]] = {}
        for number, line in enumerate(sums):
            for position in (line.total, *line.addends.tolist()):
                self._of.setdefault(position, []).append(number)

    def run(self) -> Bools:
        waiting = deque(np.flatnonzero(self._hidden).tolist())
        while True:
            self._settle(waiting)
            found = self._determined()
            if not found:
                return self._hidden
            first, *others = found
            waiting.append(self._protect(first))
            waiting.extend(
                self._protect(position) for position in others if self._open_sums(position)
            )

    def _settle(self, waiting: deque[int]) -> None:
        """Repair every sum that contains a newly suppressed count, transitively."""
        while waiting:
            for number in self._of.get(waiting.popleft(), ()):
                while self._tells(self._sums[number]):
                    waiting.append(self._hide_more(self._sums[number]))

    def _tells(self, line: Sum) -> bool:
        hidden = line.addends[self._hidden[line.addends]]
        if self._hidden[line.total]:
            return not len(hidden)
        # All of the others are at least 1, so that none can be larger than this.
        max_value = int(self._counts[hidden].sum()) - len(hidden) + 1
        return bool(len(hidden)) and (len(hidden) == 1 or max_value < self._min_cell)

    def _hide_more(self, line: Sum) -> int:
        """Suppress the smallest published count above 0 of a sum."""
        shown = line.addends[~self._hidden[line.addends] & (self._counts[line.addends] > 0)]
        if len(shown):
            position = int(shown[np.argmin(self._counts[shown])])
        elif not self._hidden[line.total] and line.total != self._everything:
            position = line.total
        else:
            raise DataError(
                f"counts below {self._min_cell:,} cannot be suppressed: others reveal them; "
                "use fewer attributes or coarser bins"
            )
        self._hidden[position] = True
        return position

    def _protect(self, position: int) -> int:
        """Suppress another count of a sum whose suppressed count is determined."""
        lines = self._open_sums(position) or [self._sums[number] for number in self._of[position]]
        return self._hide_more(lines[0])

    def _open_sums(self, position: int) -> list[Sum]:
        """The sums with this count and another published addend above 0."""
        return [
            line
            for line in (self._sums[number] for number in self._of[position])
            if (~self._hidden[line.addends] & (self._counts[line.addends] > 0)).any()
        ]

    def _determined(self) -> list[int]:
        """Suppressed counts that are determined by the system of sums.

        In large systems all of them are returned and repaired together, which may suppress
        slightly more than repairing one by one.

        A random vector is projected on the null space: determined counts are 0 there, others
        almost surely are not.
        """
        unknown = np.flatnonzero(self._hidden)
        if not len(unknown):
            return []
        system = self._system(unknown)
        random = np.random.default_rng(0).normal(size=len(unknown))
        free = random - _solve(system, system @ random)
        if float(np.abs(system @ free).max(initial=0.0)) > _WRONG:
            free = np.zeros_like(free)  # not solved: suppress too much rather than too little
        fixed = np.flatnonzero(np.abs(free) < _CLOSE)
        found: list[int] = unknown[fixed].tolist()
        return found if len(unknown) > _DENSE else found[:1]

    def _system(self, unknown: Ints) -> csr_array:
        """The sums as rows: 1 for a suppressed addend, -1 for a suppressed total."""
        column = np.full(len(self._counts), -1, dtype=np.int64)
        column[unknown] = np.arange(len(unknown))
        rows, columns, values = [], [], []
        touched = {number for position in unknown.tolist() for number in self._of.get(position, ())}
        for row, number in enumerate(sorted(touched)):
            line = self._sums[number]
            positions = np.append(line.addends, line.total)
            signs = np.append(np.ones(len(line.addends)), -1.0)
            known = column[positions] >= 0
            rows.append(np.full(int(known.sum()), row))
            columns.append(column[positions[known]])
            values.append(signs[known])
        shape = (max(1, len(touched)), len(unknown))
        if not touched:
            return csr_array(shape)
        joined = (np.concatenate(rows), np.concatenate(columns))
        return csr_array((np.concatenate(values), joined), shape=shape)


def _solve(system: csr_array, right: Floats) -> Floats:
    """Minimum-norm solution of a consistent system."""
    if system.shape[1] <= _DENSE:
        return np.asarray(np.linalg.lstsq(system.toarray(), right, rcond=None)[0])
    return np.asarray(lsmr(system, right, atol=1e-14, btol=1e-14, conlim=0, maxiter=20_000)[0])


def _hide(table: Table, hidden: Bools) -> Table:
    mask = hidden.reshape(table.counts.shape)
    return replace(table, counts=np.where(mask, 0, table.counts), hidden=mask)
