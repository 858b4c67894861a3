from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.balance.correct import integer_program as programme
from curate.balance.correct.allocation import oversample, subset
from curate.balance.correct.goal import Goal
from curate.balance.correct.strata import Strata, find_members
from curate.balance.groups import MISSING
from curate.core.errors import DataError
from tests.balance.correct.made_up import BIASED, goal_of, people_of, strata_of


def meets(strata: Strata, counts: np.ndarray, goal: Goal) -> np.ndarray:
    """Whether numbers of records, one set of them a row, meet a goal."""
    met = np.ones(len(counts), dtype=bool)
    for columns, target in goal.targets.items():
        members = find_members(strata, columns, list(target))
        for label in strata.names() if goal.within else [None]:
            own = strata.having(label)
            people = counts[:, own] @ members.people[own]
            total = people.sum(axis=1)
            for share, found in zip(target.values(), people.T, strict=True):
                met &= abs(found - share * total) <= goal.tolerance * total + 1e-9
    for label in strata.names():
        met &= counts[:, strata.having(label)].sum(axis=1) >= goal.min_per_label
    return met


def brute_force(strata: Strata, goal: Goal, low: np.ndarray, high: np.ndarray) -> list[int]:
    """The sums of all numbers of records that meet a goal."""
    ranges = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    counts = np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).reshape(-1, len(ranges))
    return [int(total) for total in counts[meets(strata, counts, goal)].sum(axis=1)]


few = st.integers(0, 4)


@st.composite
def tables(draw: st.DrawFn) -> Strata:
    cells = [
        ((gender, age), labels, draw(few))
        for gender in ("f", "m")
        for age in ("old", "young")
        for labels in (("a",), ("b",))
    ]
    kept = [cell for cell in cells if cell[2]]
    if not kept:
        kept = [(("f", "old"), ("a",), 1)]
    if draw(st.booleans()):  # one that has both labels ties them together
        kept.append((("f", "young"), ("a", "b"), draw(st.integers(1, 2))))
    return strata_of(("gender", "age"), kept)


@settings(max_examples=60)
@given(
    strata=tables(),
    by=st.sampled_from([(("gender",),), (("gender",), ("age",)), (("gender", "age"),)]),
    within=st.booleans(),
    tolerance=st.sampled_from([0.0, 0.05, 0.2]),
)
def test_no_subset_that_meets_the_target_is_larger(
    strata: Strata, by: tuple[tuple[str, ...], ...], within: bool, tolerance: float
) -> None:
    goal = goal_of(strata, *by, within=within, tolerance=tolerance)
    sums = brute_force(strata, goal, np.zeros_like(strata.counts), strata.counts)
    try:
        found = subset(strata, goal)
    except DataError:
        assert not sums
        return
    assert meets(strata, found.kept[None], goal).all()
    assert int(found.kept.sum()) == max(sums)
    assert found.gap == 0


@settings(max_examples=40)
@given(strata=tables(), within=st.booleans(), tolerance=st.sampled_from([0.0, 0.1]))
def test_no_fewer_records_can_be_made(strata: Strata, within: bool, tolerance: float) -> None:
    goal = goal_of(strata, ("gender",), within=within, tolerance=tolerance, max_copies=2)
    if len(strata) > 6:
        return  # too many numbers to try
    sums = brute_force(strata, goal, strata.counts, 2 * strata.counts)
    try:
        found = oversample(strata, goal)
    except DataError:
        assert not sums
        return
    assert meets(strata, (found.kept + found.added)[None], goal).all()
    assert int((found.kept + found.added).sum()) == min(sums)
    assert (found.kept == strata.counts).all()
    assert (found.added <= strata.counts).all()


@given(
    cells=st.lists(
        st.tuples(
            st.lists(st.sampled_from([("f",), ("m",)]), min_size=1, max_size=3).map(tuple),
            st.integers(1, 3),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_people_count_each_by_themselves(
    cells: list[tuple[tuple[tuple[str, ...], ...], int]],
) -> None:
    strata = people_of(("gender",), cells)
    goal = goal_of(strata, ("gender",), tolerance=0.1)
    sums = brute_force(strata, goal, np.zeros_like(strata.counts), strata.counts)
    assert int(subset(strata, goal).kept.sum()) == max(sums)


def test_who_has_no_value_or_no_label_stays() -> None:
    strata = strata_of(
        ("gender",), [*BIASED, ((MISSING,), ("nurse",), 7), (("Female",), (MISSING,), 9)]
    )
    found = subset(strata, goal_of(strata, ("gender",), within=True, tolerance=0.0))
    kept = {
        (people[0][0], labels[0]): int(number)
        for people, labels, number in zip(strata.people, strata.labels, found.kept, strict=True)
    }
    assert kept == {
        ("Female", "nurse"): 20, ("Male", "nurse"): 20, (MISSING, "nurse"): 7,
        ("Female", "pilot"): 10, ("Male", "pilot"): 10, ("Female", MISSING): 9,
    }  # fmt: skip


def test_what_keeps_a_target_from_being_met_is_named() -> None:
    strata = strata_of(("gender",), [*BIASED, (("Female",), ("judge",), 12)])
    with pytest.raises(DataError) as said:
        subset(strata, goal_of(strata, ("gender",), within=True, min_per_label=30))
    assert "fewer than the 30" in str(said.value)
    with pytest.raises(DataError) as said:
        subset(strata, goal_of(strata, ("gender",), within=True, min_per_label=10))
    assert "gender Male of judge (0 available, 5 more needed)" in str(said.value)
    strata = strata_of(("gender",), BIASED)
    named = "gender Female of pilot (10 available, 20 more needed); gender Male of nurse"
    with pytest.raises(DataError, match=re.escape(named)):
        # 90 men need 90 women; 30 women, three times each.
        oversample(strata, goal_of(strata, ("gender",), within=True, max_copies=3, tolerance=0.0))


def test_whole_numbers_may_be_what_is_in_the_way() -> None:
    strata = strata_of(("g",), [(("a",), ("x",), 1), (("b",), ("x",), 1), (("c",), ("x",), 1)])
    wanted = {("g",): {("a",): 0.5, ("b",): 0.25, ("c",): 0.25}}
    goal = goal_of(strata, ("g",), wanted=wanted, within=True, tolerance=0.01)
    with pytest.raises(DataError, match="no whole number of records of x"):
        subset(strata, goal)


def test_a_target_is_for_groups_that_are_there() -> None:
    strata = strata_of(("gender",), BIASED)
    with pytest.raises(DataError, match="'Other', which no record has"):
        goal_of(strata, ("gender",), wanted={("gender",): {("Other",): 1.0}})


def test_labels_keep_records_where_targets_are_over_all() -> None:
    strata = strata_of(("g",), [(("a",), ("x",), 40), (("a",), ("y",), 6), (("b",), ("x",), 30)])
    goal = goal_of(strata, ("g",), tolerance=0.0, min_per_label=5)
    found = subset(strata, goal)
    kept = dict(
        zip(zip(strata.people, strata.labels, strict=True), found.kept.tolist(), strict=True)
    )
    assert kept[(("a",),), ("y",)] >= 5
    assert found.kept.sum() == 60
    with pytest.raises(DataError, match="y has 6 records, fewer than the 7"):
        subset(strata, goal_of(strata, ("g",), tolerance=0.0, min_per_label=7))
    strata = strata_of(("g",), [(("a",), ("y",), 9), (("b",), ("x",), 3), (("b",), ("y",), 3)])
    with pytest.raises(DataError, match=r"x has 3 records, fewer than the 12"):
        subset(strata, goal_of(strata, ("g",), tolerance=0.0, min_per_label=3 + 9))


def test_a_search_that_runs_out_of_time_does_not_say_that_nothing_meets_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Ended:
        x = None
        status = 1

    monkeypatch.setattr(programme, "milp", lambda *_, **__: Ended())
    strata = strata_of(("gender",), BIASED)
    with pytest.raises(DataError, match="no solution was found in 120 s"):
        subset(strata, goal_of(strata, ("gender",)))
