from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.evaluation.measure import measure
from curate.evaluation.sweep import draw_curve, highest_threshold
from tests.evaluation.scenes import RULES, cut, simulate


def test_average_precision_of_a_case_computed_by_hand() -> None:
    # By confidence: right, wrong, right, right, wrong; of 5 faces.
    # Precision 1, 1/2, 2/3, 3/4, 3/5 at recall .2, .2, .4, .6, .6; raised: 1, 3/4, 3/4, 3/4, 3/5.
    curve = draw_curve([0.5, 0.9, 0.8, 0.7, 0.6], [False, True, False, True, True], 5)
    assert curve.confidence.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert curve.recall.tolist() == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.6])
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    assert curve.average_precision == pytest.approx(0.2 * 1 + 0.2 * 0.75 + 0.2 * 0.75)


def test_detections_of_equal_confidence_are_one_point() -> None:
    curve = draw_curve([0.5, 0.5, 0.5], [False, True, True], 4)
    assert curve.confidence.tolist() == [0.5]
    assert curve.average_precision == pytest.approx(0.5 * 2 / 3)


@pytest.mark.parametrize(("right", "want"), [([True] * 4, 1.0), ([False] * 4, 0.0)])
def test_the_ends_of_the_scale(right: list[bool], want: float) -> None:
    assert draw_curve([0.4, 0.3, 0.2, 0.1], right, 4).average_precision == want
    assert draw_curve([], [], 4).average_precision == 0.0


def test_a_long_curve_is_thinned_with_both_ends() -> None:
    curve = draw_curve(np.linspace(0, 1, 1000), np.arange(1000) % 3 > 0, 1000)
    thin = curve.thin()
    assert len(thin.recall) == 200
    assert (thin.confidence[0], thin.confidence[-1]) == (1.0, 0.0)


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.booleans()), max_size=30))
def test_average_precision_is_the_area_below_the_best_precision_at_each_recall(
    detections: list[tuple[float, bool]],
) -> None:
    faces = max(sum(right for _, right in detections), 1)
    curve = draw_curve(
        [score for score, _ in detections], [right for _, right in detections], faces
    )
    # The definition, at each number of faces found.
    area = 0.0
    for found in range(1, faces + 1):
        reach = curve.recall >= found / faces - 1e-12
        area += curve.precision[reach].max(initial=0.0) / faces
    assert curve.average_precision == pytest.approx(area)


@pytest.mark.parametrize(
    ("target", "want"), [(1.0, None), (0.75, 0.2), (0.5, 0.6), (0.3, 0.6), (0.25, 0.9), (0.0, 1.0)]
)
def test_the_highest_threshold_that_reaches_a_recall(target: float, want: float | None) -> None:
    assert highest_threshold(np.array([0.6, -np.inf, 0.9, 0.2]), target) == want


def test_the_group_threshold_gives_the_target_recall() -> None:
    swept = simulate({"I": 0.9, "VI": 0.5}, photos=500)
    found = measure(cut(swept, 0.5), RULES, swept=swept)
    assert found.sweep is not None
    [groups] = found.sweep.groups
    assert (groups.name, groups.best) == ("tone", "I")
    assert groups.target == pytest.approx(0.9, abs=0.03)
    thresholds = {each.group: each.threshold for each in groups.group_thresholds}
    assert thresholds["I"] == pytest.approx(0.5, abs=0.02)
    # Of the half that is missed, confidences are even between 0 and 0.5: 4/5 of them are needed.
    assert thresholds["VI"] == pytest.approx(0.1, abs=0.04)
    again = measure(cut(swept, thresholds["VI"] or 0.0), RULES).groupings[0]
    [worse] = [group for group in again.groups if group.name == "VI"]
    assert worse.measures["recall_30"].share.value >= groups.target


def test_recall_by_threshold_falls_from_its_recall_at_the_floor() -> None:
    swept = simulate({"I": 0.9, "VI": 0.5}, photos=100)
    found = measure(cut(swept, 0.5), RULES, swept=swept)
    assert found.sweep is not None
    for recall in found.sweep.groups[0].recall.values():
        assert recall[0] == 1.0
        assert list(recall) == sorted(recall, reverse=True)


def test_no_threshold_is_reported_if_none_is_low_enough() -> None:
    images = cut(simulate({"I": 0.9, "VI": 0.5}, photos=300), 0.5)
    found = measure(images, RULES, swept=images)
    assert found.sweep is not None
    thresholds = {each.group: each.threshold for each in found.sweep.groups[0].group_thresholds}
    assert thresholds["VI"] is None
    [lower] = [each for each in found.sweep.groups[0].group_thresholds if each.group == "VI"]
    assert lower.interval == (None, None)
    assert lower.unreached == 1.0
    assert thresholds["I"] is not None


def test_groups_that_are_not_compared_are_not_swept() -> None:
    images = simulate({"I": 0.9}, photos=30)
    found = measure(images, RULES, by=["tone"], swept=images)
    assert found.sweep is not None
    assert found.sweep.groups == ()
