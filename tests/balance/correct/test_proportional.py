"""The second stage: proportional allocations at the optimal size."""

from __future__ import annotations

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.balance.correct import proportional
from curate.balance.correct.allocation import oversample, subset
from curate.balance.correct.comparison import cramers_v
from curate.balance.correct.confounding import measure_associations
from curate.balance.correct.proportional import Limits, Totals, fit_table, split_counts
from curate.balance.correct.strata import Strata
from tests.balance.correct.made_up import goal_of, strata_of

AGES = ("young", "middle", "old")


def draw_strata(seed: int, size: int, with_label: bool = True) -> Strata:
    """A dataset of gender, age and hair that are independent, with a label that depends on them."""
    random = np.random.default_rng(seed)
    gender = random.choice(["f", "m"], size, p=[0.3, 0.7])
    age = random.choice(AGES, size, p=[0.5, 0.3, 0.2])
    hair = random.choice(["dark", "fair"], size, p=[0.6, 0.4])
    rate = 0.2 + 0.3 * (gender == "m") + 0.2 * (age == "old")
    label = np.where(random.random(size) < rate, "yes", "no")
    rows = Counter(
        ((g, a, h), (y,) if with_label else ())
        for g, a, h, y in zip(gender, age, hair, label, strict=True)
    )
    return strata_of(("gender", "age", "hair"), [(g, y, n) for (g, y), n in rows.items()])


def rates(strata: Strata, counts: np.ndarray) -> dict[tuple[str, ...], float]:
    """P(yes) in every cell of the attributes."""
    found: dict[tuple[str, ...], list[float]] = {}
    for people, labels, count in zip(strata.people, strata.labels, counts, strict=True):
        cell = found.setdefault(people[0], [0.0, 0.0])
        cell[0] += count * ("yes" in labels)
        cell[1] += count
    return {group: yes / n for group, (yes, n) in found.items() if n}


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(60, 200), min_size=4, max_size=4),
    rare=st.integers(20, 40),
    seed=st.integers(0, 99),
)
def test_no_association_grows_where_a_proportional_subset_of_that_size_exists(
    counts: list[int], rare: int, seed: int
) -> None:
    groups = list(product("fm", AGES))
    table = [*counts[:2], rare, *counts[2:], rare]
    strata = strata_of(
        ("gender", "age"), [(group, (), n) for group, n in zip(groups, table, strict=True)]
    )
    goal = goal_of(strata, ("gender",), ("age",), tolerance=0.01, min_per_label=0)
    kept = subset(strata, goal, seed).kept
    proportional_exists = (kept.sum() / 6 * 1.05 <= strata.counts[strata.counts > rare]).all()
    before = measure_associations(strata, strata.counts.astype(float), None)
    after = measure_associations(strata, kept.astype(float), None)
    assert (kept > 0).all()
    if proportional_exists:
        rounding = 12 / kept.sum()
        assert after["gender", "age"] <= before["gender", "age"] + 0.005 + rounding


def test_copies_are_spread_proportionally() -> None:
    cells = [("f", "young", 30), ("f", "old", 20), ("m", "young", 90), ("m", "old", 60)]
    strata = strata_of(("gender", "age"), [((g, age), (), n) for g, age, n in cells])
    goal = goal_of(strata, ("gender",), tolerance=0.0, min_per_label=0)
    made = dict(zip(strata.people, oversample(strata, goal).added.tolist(), strict=True))
    assert made == {
        (("f", "young"),): 60, (("f", "old"),): 40, (("m", "young"),): 0, (("m", "old"),): 0,
    }  # fmt: skip


def test_one_grouping_keeps_the_shares_within_each_group() -> None:
    strata = draw_strata(3, 5000)
    goal = goal_of(strata, ("gender",), tolerance=0.0, min_per_label=0)
    kept = subset(strata, goal, 0, "label").kept
    for gender in ("f", "m"):
        own = np.array([people[0][0] == gender for people in strata.people])
        fraction = kept[own].sum() / strata.counts[own].sum()
        assert np.abs(kept[own] - fraction * strata.counts[own]).max() < 2.0


def test_the_label_enters_as_a_rate_and_never_as_a_choice() -> None:
    strata, blind = draw_strata(5, 6000), draw_strata(5, 6000, with_label=False)
    goals = [
        goal_of(each, ("gender",), ("age",), tolerance=0.01, min_per_label=0)
        for each in (strata, blind)
    ]
    with_label = subset(strata, goals[0], 1, "label").kept
    without = subset(blind, goals[1], 1).kept
    cells: Counter[tuple[str, ...]] = Counter()
    for people, count in zip(strata.people, with_label.tolist(), strict=True):
        cells[people[0]] += count
    assert [cells[people[0]] for people in blind.people] == without.tolist()
    before, after = rates(strata, strata.counts), rates(strata, with_label)
    assert all(abs(after[cell] - before[cell]) <= 1 / cells[cell] for cell in before)


def test_another_seed_rounds_otherwise_at_the_same_size() -> None:
    strata = draw_strata(2, 500)
    goal = goal_of(strata, ("gender",), ("age",), tolerance=0.01, min_per_label=0)
    found = [subset(strata, goal, seed, "label").kept for seed in range(3)]
    assert len({int(each.sum()) for each in found}) == 1
    assert len({tuple(each.tolist()) for each in found}) > 1
    again = subset(strata, goal, 0, "label").kept
    assert (again == found[0]).all()


def test_fitting_is_iterative_proportional_fitting_where_no_bound_is_active() -> None:
    table = np.array([[10.0, 20.0, 30.0], [40.0, 10.0, 5.0]])
    rows, columns = np.array([50.0, 50.0]), np.array([30.0, 30.0, 40.0])
    known = table.copy()
    for _ in range(500):
        known *= (rows / known.sum(axis=1))[:, None]
        known *= columns / known.sum(axis=0)
    cells = list(product(range(2), range(3)))
    of_row = [[float(i == row) for i, _ in cells] for row in range(2)]
    of_column = [[float(j == column) for _, j in cells] for column in range(3)]
    matrix = np.array(of_row + of_column)
    sums = np.concatenate([rows, columns])
    bounds = Limits(np.zeros(6, dtype=np.int64), np.full(6, 1000))
    totals = Totals(proportional.csr_array(matrix), sums, sums)
    fitted = fit_table(table.ravel(), bounds, totals)
    assert fitted.reshape(2, 3) == pytest.approx(known, rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(0, 9), min_size=1, max_size=12),
    share=st.floats(0, 1),
    pools=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_splitting_is_exact_and_within_one_of_proportional(
    counts: list[int], share: float, pools: int, seed: int
) -> None:
    strata = np.array(counts)
    of = np.arange(len(strata)) % pools
    totals = np.bincount(of, weights=strata, minlength=pools).astype(np.int64)
    take = np.floor(totals * share).astype(np.int64)
    found = split_counts(take, strata, of, np.random.default_rng(seed))
    assert (np.bincount(of, weights=found, minlength=pools) == take).all()
    assert ((found >= 0) & (found <= strata)).all()
    exact = strata * np.where(totals[of] > 0, take[of] / np.maximum(totals[of], 1), 0)
    assert (np.abs(found - exact) < 1 + 1e-9).all()


def test_splitting_is_unbiased() -> None:
    counts, pools = np.array([1, 1, 1, 1, 6]), np.zeros(5, dtype=np.int64)
    draws = [
        split_counts(np.array([4]), counts, pools, np.random.default_rng(seed))
        for seed in range(2000)
    ]
    assert np.mean(draws, axis=0) == pytest.approx(counts * 0.4, abs=0.04)


def test_cramers_v_of_pairs_is_that_of_their_table() -> None:
    strata = draw_strata(1, 300)
    found = measure_associations(strata, strata.counts.astype(float), "label")
    table = np.zeros((2, 3))
    for people, count in zip(strata.people, strata.counts, strict=True):
        table["fm".index(people[0][0]), AGES.index(people[0][1])] += count
    assert found["gender", "age"] == pytest.approx(cramers_v(table))
    assert set(found) == {
        ("gender", "age"), ("gender", "hair"), ("age", "hair"),
        ("label", "gender"), ("label", "age"), ("label", "hair"),
    }  # fmt: skip


FAIRFACE = """
Black Female 39 406 819 403 625 320 157 72 17
Black Male 90 320 646 601 611 371 166 58 10
EastAsian Female 67 311 1310 341 517 163 93 34 21
EastAsian Male 124 243 840 456 553 267 159 77 18
Indian Female 41 448 780 329 545 300 183 100 48
Indian Male 46 291 642 394 760 452 254 102 29
Latino Female 52 403 947 381 653 360 189 76 27
Latino Male 33 312 711 360 722 528 331 96 14
MiddleEastern Female 11 176 467 116 291 148 75 35 12
MiddleEastern Male 51 191 562 213 819 537 317 176 51
SoutheastAsian Female 30 338 833 328 419 198 123 50 39
SoutheastAsian Male 66 325 748 367 517 276 158 72 35
White Female 78 312 1354 305 863 345 190 86 40
White Male 113 238 1018 273 1044 613 435 226 33
"""
"""Counts of 40,000 labels of FairFace (Karkkainen and Joo, WACV 2021) by race, gender, age."""


def test_fairface_is_balanced_without_confounding() -> None:
    cells = []
    for line in FAIRFACE.split("\n")[1:-1]:
        race, gender, *counts = line.split()
        cells += [((race, gender, str(age)), (), int(n)) for age, n in enumerate(counts)]
    strata = strata_of(("race", "gender", "age"), cells)
    goal = goal_of(strata, ("race",), ("gender",), ("age",), tolerance=0.01, min_per_label=0)
    kept = subset(strata, goal).kept
    assert int(kept.sum()) == 3896
    assert (kept > 0).all()
    assert max(measure_associations(strata, kept.astype(float), None).values()) <= 0.05
