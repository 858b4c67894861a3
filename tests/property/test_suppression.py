"""Attacks on published tables: nothing that is hidden can be worked out."""

from __future__ import annotations

from itertools import product

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog

from curate.balance.audit.suppression import suppress
from curate.balance.census import Census
from curate.core.errors import DataError
from tests.balance.audit.surveys import draw, survey

LEAST = 10


@st.composite
def surveys(draw_: st.DrawFn) -> Census:
    kinds = draw_(st.lists(st.integers(1, 4), min_size=2, max_size=3))
    size = draw_(st.integers(LEAST, 600))
    rows = draw(draw_(st.integers(0, 10_000)), size, kinds)
    names = tuple("abc"[: len(kinds)])
    label = names[-1] if draw_(st.booleans()) else None
    attributes = names[:-1] if label else names
    by = draw_(st.sampled_from([(attributes,), tuple((name,) for name in attributes)]))
    return survey(rows, attributes, by, label)


def attack(census: Census) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list]:
    """What is published, as equations for the count of each combination, and what is not.

    The unknowns are the counts of all combinations of all columns: every table is made
    of them, whatever the tables are.
    """
    columns = max(census.tables, key=len)
    for table in census.tables.values():
        columns = (*columns, *(name for name in table.columns if name not in columns))
    values = {
        name: table.values[axis]
        for table in census.tables.values()
        for axis, name in enumerate(table.columns)
    }
    joint = list(product(*(values[name] for name in columns)))
    known, right, hidden = [], [], []
    for table in census.tables.values():
        places = [columns.index(name) for name in table.columns]
        of = {group: number for number, group in enumerate(product(*table.values))}
        which = np.array([of[tuple(row[place] for place in places)] for row in joint])
        for number in range(len(of)):
            row = (which == number).astype(float)
            if table.hidden.flat[number]:
                hidden.append(row)
            else:
                known.append(row)
                right.append(float(table.counts.flat[number]))
    return np.array(known), np.array(right), hidden


def protect(census: Census) -> Census | None:
    try:
        return suppress(census, LEAST)
    except DataError:
        return None


@given(surveys())
def test_no_hidden_count_follows_from_those_that_are_shown(census: Census) -> None:
    shown = protect(census)
    if shown is None:
        return
    known, _, hidden = attack(shown)
    rank = np.linalg.matrix_rank(known)
    for row in hidden:
        assert np.linalg.matrix_rank(np.vstack([known, row])) == rank + 1


@given(surveys())
def test_what_is_small_is_hidden_and_the_rest_is_true(census: Census) -> None:
    shown = protect(census)
    if shown is None:
        return
    for columns, table in shown.tables.items():
        true = census.tables[columns].counts
        small = (true > 0) & (true < LEAST)
        assert table.hidden[small].all()
        assert not table.hidden[true == 0].any()
        assert (table.counts[~table.hidden] == true[~table.hidden]).all()
        assert not table.counts[table.hidden].any()
    assert shown.cells is None


@given(surveys())
def test_whoever_knows_that_what_is_hidden_is_somebody_pins_nothing_down(census: Census) -> None:
    shown = protect(census)
    if shown is None:
        return
    known, right, hidden = attack(shown)
    for row in hidden[:6]:
        least, most = (
            sign * linprog(sign * row, -np.array(hidden), -np.ones(len(hidden)), known, right).fun
            for sign in (1, -1)
        )
        assert most - least > 0.99  # counts are whole: at least two of them are possible


def test_a_small_count_is_hidden_with_company() -> None:
    rows = [("F", "x")] * 3 + [("F", "y")] * 40 + [("M", "x")] * 50 + [("M", "y")] * 60
    shown = suppress(survey(rows, ("g", "r"), (("g", "r"),)), LEAST)
    assert shown.table("g", "r").hidden.all()
    assert shown.table("g").whole
    assert shown.table("r").counts.tolist() == [53, 100]


def test_two_small_counts_whose_sum_is_small_are_hidden_with_a_third() -> None:
    rows = [("a",)] * 1 + [("b",)] * 1 + [("c",)] * 30 + [("d",)] * 50
    table = suppress(survey(rows, ("g",), (("g",),)), LEAST).table("g")
    assert table.hidden.tolist() == [True, True, True, False]


def test_nothing_is_shown_of_almost_nobody() -> None:
    with pytest.raises(DataError, match="fewer than --min-cell 10 records"):
        suppress(survey([("a",)] * 9, ("g",), (("g",),)), LEAST)


def test_large_tables_are_protected_too() -> None:
    rows = draw(1, 30_000, (7, 9, 60))
    census = survey(rows, ("a", "b"), (("a", "b"),), "c")
    shown = suppress(census, LEAST)
    hidden = sum(int(table.hidden.sum()) for table in shown.tables.values())
    assert hidden > 1500
