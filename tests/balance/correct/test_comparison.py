from __future__ import annotations

import numpy as np
import pytest

from curate.balance.correct.allocation import remove_labels, subset
from curate.balance.correct.comparison import amplify, compare, cramers_v
from curate.balance.correct.goal import Allocation
from tests.balance.correct.made_up import BIASED, goal_of, strata_of


def test_nothing_changes_nothing() -> None:
    strata = strata_of(("gender",), BIASED)
    goal = goal_of(strata, ("gender",))
    same = Allocation(
        strata.counts, np.zeros_like(strata.counts), np.ones(len(strata)), (None,) * len(strata)
    )
    [found] = compare(strata, same, goal)
    assert found.before == found.after
    assert found.amplification is not None
    assert found.amplification.majority == 0
    assert found.amplification.directional == 0
    assert same.effective == strata.counts.sum()


def test_amplification_by_hand() -> None:
    # Rows: everything, cooking, driving; columns: women, men.
    before = np.array([[50.0, 50], [33, 17], [17, 33]])
    after = np.array([[50.0, 50], [42, 8], [8, 42]])
    found = amplify(before, after)
    assert found.majority == pytest.approx(0.84 - 0.66)
    assert found.directional == pytest.approx((42 - 33) / 50)


def test_a_label_without_a_majority_counts_in_the_average() -> None:
    before = np.array([[70.0, 70], [33, 17], [20, 20]])
    after = np.array([[70.0, 70], [42, 8], [10, 30]])
    assert amplify(before, after).majority == pytest.approx((0.84 - 0.66) / 2)


def test_a_balanced_subset_takes_bias_away() -> None:
    strata = strata_of(("gender",), BIASED)
    goal = goal_of(strata, ("gender",), within=True, tolerance=0.0)
    [found] = compare(strata, subset(strata, goal), goal)
    assert found.after.worst == 0
    assert found.after.association == 0
    assert found.after.rate_gap == 0
    assert found.before.worst_label == "pilot"
    assert found.before.worst == pytest.approx(0.4)
    assert found.amplification is not None
    assert found.amplification.majority is not None
    assert found.amplification.majority == pytest.approx(-(0.3 + 0.4) / 2)


def test_cramers_v_of_what_is_told_apart_wholly_is_1() -> None:
    assert cramers_v(np.array([[5.0, 0], [0, 3]])) == pytest.approx(1)
    assert cramers_v(np.array([[2.0, 4], [3, 6]])) == pytest.approx(0, abs=1e-9)
    assert cramers_v(np.array([[2.0, 4]])) == 0


def test_labels_that_people_decided_against_go_with_all_their_records() -> None:
    strata = strata_of(("g",), [(("x",), ("cat",), 3), (("x",), ("cat", "slur"), 2),
                              (("x",), ("slur",), 4)])  # fmt: skip
    found = remove_labels(strata, {"slur": "offensive"})
    kept = dict(zip(strata.labels, found.kept.tolist(), strict=True))
    assert kept == {("cat",): 3, ("cat", "slur"): 0, ("slur",): 0}
    assert set(found.why) == {None, "slur: offensive"}
