from __future__ import annotations

import numpy as np
import pytest

from curate.evaluation.measure import evaluate
from curate.evaluation.sweep import highest_threshold
from tests.evaluation.scenes import RULES, cut, simulate


@pytest.mark.parametrize(
    ("target", "want"), [(1.0, None), (0.75, 0.2), (0.5, 0.6), (0.3, 0.6), (0.25, 0.9), (0.0, 1.0)]
)
def test_the_highest_threshold_that_reaches_a_recall(target: float, want: float | None) -> None:
    assert highest_threshold(np.array([0.6, -np.inf, 0.9, 0.2]), target) == want


def test_the_threshold_that_equalises_recall_does_so() -> None:
    swept = simulate({"I": 0.9, "VI": 0.5}, photos=500)
    found = evaluate(cut(swept, 0.5), RULES, swept=swept)
    assert found.sweep is not None
    [groups] = found.sweep.groups
    assert (groups.name, groups.best) == ("tone", "I")
    assert groups.target == pytest.approx(0.9, abs=0.03)
    thresholds = {each.group: each.threshold for each in groups.equalisers}
    assert thresholds["I"] == pytest.approx(0.5, abs=0.02)
    # Of the half that is missed, confidences are even between 0 and 0.5: 4/5 of them are needed.
    assert thresholds["VI"] == pytest.approx(0.1, abs=0.04)
    again = evaluate(cut(swept, thresholds["VI"] or 0.0), RULES).groupings[0]
    [worse] = [group for group in again.groups if group.name == "VI"]
    assert worse.measures["recall_30"].share.value >= groups.target


def test_recall_by_threshold_falls_from_its_recall_at_the_floor() -> None:
    swept = simulate({"I": 0.9, "VI": 0.5}, photos=100)
    found = evaluate(cut(swept, 0.5), RULES, swept=swept)
    assert found.sweep is not None
    for recall in found.sweep.groups[0].recall.values():
        assert recall[0] == 1.0
        assert list(recall) == sorted(recall, reverse=True)


def test_where_no_threshold_is_low_enough_it_says_so() -> None:
    images = cut(simulate({"I": 0.9, "VI": 0.5}, photos=300), 0.5)
    found = evaluate(images, RULES, swept=images)
    assert found.sweep is not None
    thresholds = {each.group: each.threshold for each in found.sweep.groups[0].equalisers}
    assert thresholds["VI"] is None
    assert thresholds["I"] is not None


def test_groups_that_are_not_compared_are_not_swept() -> None:
    images = simulate({"I": 0.9}, photos=30)
    found = evaluate(images, RULES, by=["tone"], swept=images)
    assert found.sweep is not None
    assert found.sweep.groups == ()
