from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.balance.correct.comparison import compare, cramers_v
from curate.balance.correct.reweigh import reweigh
from curate.balance.groups import MISSING
from curate.core.errors import DataError, UsageError
from tests.balance.correct.made_up import BIASED, goal_of, people_of, strata_of


def test_weights_are_kamiran_and_calders() -> None:
    strata = strata_of(("gender",), BIASED)
    goal = goal_of(strata, ("gender",), wanted="observed", within=True)
    found = reweigh(strata, goal)
    expected = {
        ("Female", "nurse"): (90 / 200) * (100 / 200) / (80 / 200),
        ("Female", "pilot"): (90 / 200) * (100 / 200) / (10 / 200),
        ("Male", "nurse"): (110 / 200) * (100 / 200) / (20 / 200),
        ("Male", "pilot"): (110 / 200) * (100 / 200) / (90 / 200),
    }
    weights = {
        (people[0][0], labels[0]): weight
        for people, labels, weight in zip(strata.people, strata.labels, found.weights, strict=True)
    }
    assert weights == pytest.approx(expected, rel=1e-12)


counts = st.integers(1, 60)


@given(st.lists(counts, min_size=12, max_size=12))
def test_groups_and_labels_become_independent_exactly(numbers: list[int]) -> None:
    cells = [
        ((f"g{group}",), (f"l{label}",), numbers[3 * label + group])
        for label in range(4)
        for group in range(3)
    ]
    strata = strata_of(("group",), cells)
    goal = goal_of(strata, ("group",), wanted="observed", within=True)
    found = reweigh(strata, goal)
    [comparison] = compare(strata, found, goal)
    assert cramers_v(comparison.masses.after[1:]) < 1e-9
    # Labels and groups keep their sums.
    before, after = comparison.masses.before, comparison.masses.after
    assert after.sum(axis=1) == pytest.approx(before.sum(axis=1))
    assert after[0] == pytest.approx(before[0])
    assert found.effective <= strata.counts.sum() + 1e-9


def test_several_targets_are_raked_together() -> None:
    strata = strata_of(
        ("gender", "age"),
        [(("f", "old"), (), 5), (("f", "young"), (), 40), (("m", "old"), (), 30),
         (("m", "young"), (), 25)],
    )  # fmt: skip
    goal = goal_of(strata, ("gender",), ("age",))
    found = reweigh(strata, goal)
    for comparison in compare(strata, found, goal):
        assert comparison.after.total_variation < 1e-9
        assert comparison.masses.after[0] == pytest.approx([50, 50])


def test_who_has_no_value_and_no_label_is_left_as_it_is() -> None:
    strata = strata_of(
        ("gender",), [*BIASED, ((MISSING,), ("nurse",), 7), (("Female",), (MISSING,), 9)]
    )
    found = reweigh(strata, goal_of(strata, ("gender",), within=True))
    for people, labels, weight in zip(strata.people, strata.labels, found.weights, strict=True):
        assert (weight == 1) == (people[0][0] == MISSING or labels == (MISSING,))


def test_an_empty_cell_is_named_and_its_share_goes_to_the_others() -> None:
    strata = strata_of(("gender",), BIASED[:3])
    found = reweigh(strata, goal_of(strata, ("gender",), within=True))
    [note] = found.notes
    assert "Male of pilot" in note
    assert (found.weights * strata.counts).sum() == pytest.approx(110)


def test_targets_that_contradict_each_other_are_an_error() -> None:
    strata = strata_of(("a", "b"), [(("x", "u"), (), 10), (("y", "v"), (), 10)])
    wanted = {("a",): {("x",): 0.9, ("y",): 0.1}, ("b",): {("u",): 0.1, ("v",): 0.9}}
    with pytest.raises(DataError, match="no weights meet all targets"):
        reweigh(strata, goal_of(strata, ("a",), ("b",), wanted=wanted))


def test_people_have_no_weights() -> None:
    strata = people_of(("gender",), [((("f",), ("m",)), 3)])
    with pytest.raises(UsageError, match="--per record"):
        reweigh(strata, goal_of(strata, ("gender",)))


def test_the_effective_size_is_kishs() -> None:
    strata = strata_of(("gender",), BIASED)
    found = reweigh(strata, goal_of(strata, ("gender",), within=True))
    weights = np.repeat(found.weights, strata.counts)
    assert found.effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())
    assert abs(int(found.effective_counts().sum()) - found.effective) <= 0.5


def test_small_kinds_are_not_all_rounded_away() -> None:
    strata = strata_of(
        ("g",), [((group,), (f"l{n}",), 1) for group in ("a", "b") for n in range(200)]
    )
    goal = goal_of(strata, ("g",), wanted={("g",): {("a",): 0.95, ("b",): 0.05}})
    found = reweigh(strata, goal)
    sizes = dict.fromkeys(("a", "b"), 0)
    for [(group,)], count in zip(strata.people, found.effective_counts().tolist(), strict=True):
        sizes[group] += count
    assert sizes["a"] == pytest.approx(0.95 * found.effective, abs=1)
    assert sizes["b"] == pytest.approx(0.05 * found.effective, abs=1)
