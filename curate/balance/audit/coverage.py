"""Groups that are hardly there: maximal uncovered patterns.

Asudeh, Jin and Jagadish, *Assessing and remedying coverage for a given dataset* (ICDE
2019). A pattern gives values to some attributes and leaves the others open; it is
uncovered if fewer than a threshold of records match it, and maximal if each pattern
that leaves one more attribute open is covered. The search is their pattern-breaker:
from the open pattern down, and only below patterns that are covered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from curate.balance.contingency import Cells, Ints
from curate.balance.groups import MISSING
from curate.core.errors import DataError

THRESHOLD = 30
"""Records below which a group is hardly there, where no other number is given."""

Places = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A maximal uncovered pattern.

    Args:
        pattern: the values that it gives, by attribute.
        count: how many records match it.
    """

    pattern: Mapping[str, str]
    count: int


def find_uncovered(cells: Cells, threshold: int = THRESHOLD) -> list[Uncovered]:
    """The maximal uncovered patterns, the most general first.

    Patterns never ask for a missing value; records with one match patterns that leave
    its attribute open.

    Args:
        cells: the combinations that there are.
        threshold: records from which on a pattern is covered.

    Raises:
        DataError: if there are more conceivable combinations than can be numbered.
    """
    sizes = [len(values) - (MISSING in values) for values in cells.values]
    if math.prod(max(1, size) for size in sizes) >= 2**62:
        raise DataError("these attributes have too many combinations for coverage; bin them")
    if cells.total < threshold:
        return [Uncovered({}, cells.total)]
    covered: dict[Places, Ints] = {(): np.zeros(1, dtype=np.int64)}
    found: list[Uncovered] = []
    for level in range(1, len(sizes) + 1):
        for places in combinations(range(len(sizes)), level):
            candidates = _candidates(places, covered, sizes)
            counts = _count(cells, places, candidates, sizes)
            covered[places] = candidates[counts >= threshold]
            few = counts < threshold
            for code, count in zip(candidates[few].tolist(), counts[few].tolist(), strict=True):
                found.append(Uncovered(_spell(cells, places, code, sizes), count))
    return found


def _candidates(places: Places, covered: Mapping[Places, Ints], sizes: list[int]) -> Ints:
    """Patterns over these attributes of which every more general one is covered, sorted."""
    *first, last = places
    codes = (covered[tuple(first)][:, None] * sizes[last] + np.arange(sizes[last])).ravel()
    values = _split(codes, places, sizes)
    for left_out in range(len(places) - 1):
        rest = [place for place in range(len(places)) if place != left_out]
        parent = tuple(places[place] for place in rest)
        keep = np.isin(_join(values[:, rest], parent, sizes), covered[parent])
        codes, values = codes[keep], values[keep]
    return codes


def _count(cells: Cells, places: Places, candidates: Ints, sizes: list[int]) -> Ints:
    """How many records match each candidate."""
    if not len(candidates):
        return np.zeros(0, dtype=np.int64)
    values = cells.codes[:, places]
    known = (values < np.array([sizes[place] for place in places])).all(axis=1)
    codes, inverse = np.unique(_join(values[known], places, sizes), return_inverse=True)
    counts = np.zeros(len(codes) + 1, dtype=np.int64)
    np.add.at(counts, inverse, cells.counts[known])
    where = np.searchsorted(codes, candidates)
    hit = where < len(codes)
    hit[hit] = codes[where[hit]] == candidates[hit]
    return np.where(hit, counts[where], 0)


def _join(values: Ints, places: Places, sizes: list[int]) -> Ints:
    """One number for each row of values."""
    codes = np.zeros(len(values), dtype=np.int64)
    for column, place in enumerate(places):
        codes = codes * sizes[place] + values[:, column]
    return codes


def _split(codes: Ints, places: Places, sizes: list[int]) -> Ints:
    """The rows of values that the numbers stand for."""
    values = np.empty((len(codes), len(places)), dtype=np.int64)
    for column in range(len(places) - 1, -1, -1):
        codes, values[:, column] = np.divmod(codes, sizes[places[column]])
    return values


def _spell(cells: Cells, places: Places, code: int, sizes: list[int]) -> dict[str, str]:
    row = _split(np.array([code]), places, sizes)[0]
    return {
        cells.columns[place]: cells.values[place][value]
        for place, value in zip(places, row, strict=True)
    }
