"""Coverage: under-represented intersections as maximal uncovered patterns.

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
"""Default minimum number of records of a covered pattern."""

Positions = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Uncovered:
    """A maximal uncovered pattern.

    Args:
        pattern: its values, by attribute.
        count: number of matching records.
    """

    pattern: Mapping[str, str]
    count: int


def format_pattern(pattern: Mapping[str, str]) -> str:
    """Return a pattern for people, such as ``gender Female, age old``."""
    return ", ".join(f"{name} {value}" for name, value in pattern.items()) or "all records"


def find_uncovered(cells: Cells, threshold: int = THRESHOLD) -> list[Uncovered]:
    """The maximal uncovered patterns, most general first.

    Patterns contain no missing values; records with one match patterns that leave its
    attribute open.

    Args:
        cells: the counted combinations.
        threshold: minimum number of records of a covered pattern.

    Raises:
        DataError: if there are more possible combinations than fit int64.
    """
    sizes = [len(values) - (MISSING in values) for values in cells.values]
    if math.prod(max(1, size) for size in sizes) >= 2**62:
        raise DataError("too many combinations of attributes for coverage; use coarser bins")
    if cells.total < threshold:
        return [Uncovered({}, cells.total)]
    covered: dict[Positions, Ints] = {(): np.zeros(1, dtype=np.int64)}
    found: list[Uncovered] = []
    for level in range(1, len(sizes) + 1):
        for positions in combinations(range(len(sizes)), level):
            candidates = _candidates(positions, covered, sizes)
            counts = _count(cells, positions, candidates, sizes)
            covered[positions] = candidates[counts >= threshold]
            few = counts < threshold
            for code, count in zip(candidates[few].tolist(), counts[few].tolist(), strict=True):
                found.append(Uncovered(_describe(cells, positions, code, sizes), count))
    return found


def _candidates(positions: Positions, covered: Mapping[Positions, Ints], sizes: list[int]) -> Ints:
    """Patterns over these attributes of which every more general one is covered, sorted."""
    *first, last = positions
    codes = (covered[tuple(first)][:, None] * sizes[last] + np.arange(sizes[last])).ravel()
    values = _split(codes, positions, sizes)
    for left_out in range(len(positions) - 1):
        rest = [position for position in range(len(positions)) if position != left_out]
        parent = tuple(positions[position] for position in rest)
        keep = np.isin(_join(values[:, rest], parent, sizes), covered[parent])
        codes, values = codes[keep], values[keep]
    return codes


def _count(cells: Cells, positions: Positions, candidates: Ints, sizes: list[int]) -> Ints:
    """Number of records that match each candidate."""
    if not len(candidates):
        return np.zeros(0, dtype=np.int64)
    values = cells.codes[:, positions]
    known = (values < np.array([sizes[position] for position in positions])).all(axis=1)
    codes, inverse = np.unique(_join(values[known], positions, sizes), return_inverse=True)
    counts = np.zeros(len(codes) + 1, dtype=np.int64)
    np.add.at(counts, inverse, cells.counts[known])
    where = np.searchsorted(codes, candidates)
    hit = where < len(codes)
    hit[hit] = codes[where[hit]] == candidates[hit]
    return np.where(hit, counts[where], 0)


def _join(values: Ints, positions: Positions, sizes: list[int]) -> Ints:
    """One number for each row of values."""
    codes = np.zeros(len(values), dtype=np.int64)
    for column, position in enumerate(positions):
        codes = codes * sizes[position] + values[:, column]
    return codes


def _split(codes: Ints, positions: Positions, sizes: list[int]) -> Ints:
    """The rows of values that the numbers stand for."""
    values = np.empty((len(codes), len(positions)), dtype=np.int64)
    for column in range(len(positions) - 1, -1, -1):
        codes, values[:, column] = np.divmod(codes, sizes[positions[column]])
    return values


def _describe(cells: Cells, positions: Positions, code: int, sizes: list[int]) -> dict[str, str]:
    row = _split(np.array([code]), positions, sizes)[0]
    return {
        cells.columns[position]: cells.values[position][value]
        for position, value in zip(positions, row, strict=True)
    }
