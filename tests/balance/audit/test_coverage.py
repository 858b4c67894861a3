from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from curate.balance.audit.coverage import find_uncovered
from curate.balance.groups import MISSING
from tests.balance.audit.surveys import draw, survey


def enumerate_uncovered(
    rows: list[tuple[str, ...]], threshold: int
) -> set[tuple[tuple[str | None, ...], int]]:
    """Look at every conceivable pattern."""
    values = [sorted({row[k] for row in rows} - {MISSING}) for k in range(len(rows[0]))]

    def matches(pattern: tuple[str | None, ...]) -> int:
        return sum(
            all(want is None or want == have for want, have in zip(pattern, row, strict=True))
            for row in rows
        )

    counts = {
        pattern: matches(pattern)
        for pattern in product(*([None, *each] for each in values))
    }  # fmt: skip
    found = set()
    for pattern, count in counts.items():
        parents = [
            (*pattern[:place], None, *pattern[place + 1 :])
            for place, value in enumerate(pattern)
            if value is not None
        ]
        if count < threshold and all(counts[parent] >= threshold for parent in parents):
            found.add((pattern, count))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_the_search_finds_what_enumeration_finds(seed: int) -> None:
    random = np.random.default_rng(seed)
    kinds = random.integers(1, 5, size=random.integers(1, 5)).tolist()
    rows = draw(seed, int(random.integers(1, 300)), kinds)
    if seed % 3 == 0:
        rows = [(MISSING, *row[1:]) if place % 4 == 0 else row for place, row in enumerate(rows)]
    names = tuple("abcdefgh"[: len(kinds)])
    threshold = int(random.integers(1, 60))
    census = survey(rows, names, (names,))
    assert census.cells is not None
    found = {
        (tuple(each.pattern.get(name) for name in names), each.count)
        for each in find_uncovered(census.cells, threshold)
    }
    assert found == enumerate_uncovered(rows, threshold)


def test_a_planted_hole_is_found_and_nothing_else() -> None:
    rows = [row for row in draw(3, 20_000, (2, 3, 3)) if row[:2] != ("a1", "b2")]
    census = survey(rows, ("a", "b", "c"), (("a",),))
    assert census.cells is not None
    [found] = find_uncovered(census.cells, 30)
    assert (found.pattern, found.count) == ({"a": "a1", "b": "b2"}, 0)


def test_eight_attributes_of_many_values_take_no_enumeration() -> None:
    rows = draw(5, 20_000, (40,) * 8)  # 40^8 combinations
    census = survey(rows, tuple("abcdefgh"), (("a",),))
    assert census.cells is not None
    found = find_uncovered(census.cells, 200)
    assert found
    assert all(each.count < 200 for each in found)


def test_a_dataset_smaller_than_the_threshold_is_uncovered_as_a_whole() -> None:
    census = survey([("x",)], ("a",), (("a",),))
    assert census.cells is not None
    [found] = find_uncovered(census.cells, 2)
    assert (found.pattern, found.count) == ({}, 1)
