"""Hide small counts, and as many others as it takes that nobody can work them out.

Counts from 1 to below the least one that may be shown are hidden. The tables of a
report are sums of each other, so that a hidden count could follow from those that are
shown. Others are therefore hidden as well (complementary suppression; Willenborg and
de Waal, *Elements of Statistical Disclosure Control*, 2001, chapter 4) until

- the counts hidden from a sum that is shown are at least two, and any of them could be
  as large as the least that may be shown; and
- no hidden count is determined by the linear system of all sums.

Counts of 0 are shown: they are about nobody. They are never what protects another
count either, so that each hidden count can truly be larger or smaller than it is.
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

_DENSE = 1500  # hidden counts up to which the system is solved directly
_CLOSE = 1e-5  # a random solution's entry this small does not vary
_WRONG = 1e-7  # a solution that breaks a sum by more is none


@dataclass(frozen=True, slots=True)
class Sum:
    """A count that is the sum of others; all as places in one long list of counts."""

    total: int
    addends: npt.NDArray[np.int64]


def suppress(census: Census, least: int) -> Census:
    """Hide what is small in every table; the cells behind them are dropped.

    Args:
        census: what was counted.
        least: the least count that may be shown.

    Raises:
        DataError: if there are fewer than that, or nothing could be protected.
    """
    if int(census.total.counts) < least:
        raise DataError(f"there are fewer than {least:,} in all: nothing of them may be shown")
    starts = _starts(census.tables)
    counts = np.concatenate([table.counts.ravel() for table in census.tables.values()])
    sums = list(iter_sums(census, starts))
    hidden = _Hiding(counts, sums, least, starts[()]).run()
    tables = {
        columns: _hide(table, hidden[starts[columns] : starts[columns] + table.counts.size])
        for columns, table in census.tables.items()
    }
    return replace(census, tables=tables, cells=None)


def _starts(tables: Mapping[Columns, Table]) -> dict[Columns, int]:
    """Where each table begins in the list of all counts."""
    starts: dict[Columns, int] = {}
    place = 0
    for columns, table in tables.items():
        starts[columns] = place
        place += table.counts.size
    return starts


def iter_sums(census: Census, starts: Mapping[Columns, int]) -> Iterator[Sum]:
    """Every count that is a sum of counts in a table of one column more."""
    for columns, table in census.tables.items():
        places = starts[columns] + np.arange(table.counts.size).reshape(table.counts.shape)
        for axis, name in enumerate(columns):
            less = columns[:axis] + columns[axis + 1 :]
            if name in census.plan.labels and name not in census.single:
                continue  # a record with two labels counts in two rows of the table
            totals = starts[less] + np.arange(places.size // places.shape[axis])
            lines = np.moveaxis(places, axis, -1).reshape(len(totals), -1)
            for total, addends in zip(totals.tolist(), lines, strict=True):
                yield Sum(total, addends)


class _Hiding:
    """Hides counts, one after the other, until none of them follows from the others.

    Args:
        counts: all counts.
        sums: which of them are sums of which.
        least: the least count that may be shown.
        everything: the place of the count of everything, which is always shown.
    """

    def __init__(self, counts: Ints, sums: list[Sum], least: int, everything: int) -> None:
        self._counts = counts
        self._sums = sums
        self._least = least
        self._everything = everything
        self._hidden: Bools = (counts > 0) & (counts < least)
        self._of: dict[int, list[int]] = {}
        for number, line in enumerate(sums):
            for place in (line.total, *line.addends.tolist()):
                self._of.setdefault(place, []).append(number)

    def run(self) -> Bools:
        waiting = deque(np.flatnonzero(self._hidden).tolist())
        while True:
            self._settle(waiting)
            found = self._determined()
            if not found:
                return self._hidden
            first, *others = found
            waiting.append(self._protect(first))
            waiting.extend(self._protect(place) for place in others if self._open_sums(place))

    def _settle(self, waiting: deque[int]) -> None:
        """Mend every sum that a newly hidden count stands in, and those that this touches."""
        while waiting:
            for number in self._of.get(waiting.popleft(), ()):
                while self._tells(self._sums[number]):
                    waiting.append(self._hide_more(self._sums[number]))

    def _tells(self, line: Sum) -> bool:
        hidden = line.addends[self._hidden[line.addends]]
        if self._hidden[line.total]:
            return not len(hidden)
        # All of the others are at least 1, so that none can be larger than this.
        most = int(self._counts[hidden].sum()) - len(hidden) + 1
        return bool(len(hidden)) and (len(hidden) == 1 or most < self._least)

    def _hide_more(self, line: Sum) -> int:
        """Hide the smallest count of a sum that is still shown and about somebody."""
        shown = line.addends[~self._hidden[line.addends] & (self._counts[line.addends] > 0)]
        if len(shown):
            place = int(shown[np.argmin(self._counts[shown])])
        elif not self._hidden[line.total] and line.total != self._everything:
            place = line.total
        else:
            raise DataError(
                f"counts below {self._least:,} cannot be hidden here: others give them away; "
                "look at fewer attributes, or at coarser bins"
            )
        self._hidden[place] = True
        return place

    def _protect(self, place: int) -> int:
        """Hide another count beside one that follows from the rest."""
        lines = self._open_sums(place) or [self._sums[number] for number in self._of[place]]
        return self._hide_more(lines[0])

    def _open_sums(self, place: int) -> list[Sum]:
        """The sums around a count of which another addend is shown and about somebody."""
        return [
            line
            for line in (self._sums[number] for number in self._of[place])
            if (~self._hidden[line.addends] & (self._counts[line.addends] > 0)).any()
        ]

    def _determined(self) -> list[int]:
        """Hidden counts that have only one value in all solutions of the sums.

        There may be more than one: of a large system, they are mended together, which may
        hide a little more than one by one.

        A random vector is projected on the differences between solutions: a count
        that never differs is 0 in all of them, and any other almost surely is not.
        """
        unknown = np.flatnonzero(self._hidden)
        if not len(unknown):
            return []
        system = self._system(unknown)
        random = np.random.default_rng(0).normal(size=len(unknown))
        free = random - _solve(system, system @ random)
        if float(np.abs(system @ free).max(initial=0.0)) > _WRONG:
            free = np.zeros_like(free)  # not solved: rather hide more than show too much
        fixed = np.flatnonzero(np.abs(free) < _CLOSE)
        found: list[int] = unknown[fixed].tolist()
        return found if len(unknown) > _DENSE else found[:1]

    def _system(self, unknown: Ints) -> csr_array:
        """The sums as rows: 1 for a hidden addend, -1 for a hidden total."""
        column = np.full(len(self._counts), -1, dtype=np.int64)
        column[unknown] = np.arange(len(unknown))
        rows, columns, values = [], [], []
        touched = {number for place in unknown.tolist() for number in self._of.get(place, ())}
        for row, number in enumerate(sorted(touched)):
            line = self._sums[number]
            places = np.append(line.addends, line.total)
            signs = np.append(np.ones(len(line.addends)), -1.0)
            known = column[places] >= 0
            rows.append(np.full(int(known.sum()), row))
            columns.append(column[places[known]])
            values.append(signs[known])
        shape = (max(1, len(touched)), len(unknown))
        if not touched:
            return csr_array(shape)
        joined = (np.concatenate(rows), np.concatenate(columns))
        return csr_array((np.concatenate(values), joined), shape=shape)


def _solve(system: csr_array, right: Floats) -> Floats:
    """The shortest solution of a system that has one."""
    if system.shape[1] <= _DENSE:
        return np.asarray(np.linalg.lstsq(system.toarray(), right, rcond=None)[0])
    return np.asarray(lsmr(system, right, atol=1e-14, btol=1e-14, conlim=0, maxiter=20_000)[0])


def _hide(table: Table, hidden: Bools) -> Table:
    mask = hidden.reshape(table.counts.shape)
    return replace(table, counts=np.where(mask, 0, table.counts), hidden=mask)
