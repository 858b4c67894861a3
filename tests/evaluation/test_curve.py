from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.evaluation.sweep import draw_curve


def test_average_precision_of_a_case_done_by_hand() -> None:
    # By confidence: right, wrong, right, right, wrong; of 5 faces.
    # Precision 1, 1/2, 2/3, 3/4, 3/5 at recall .2, .2, .4, .6, .6; raised: 1, 3/4, 3/4, 3/4, 3/5.
    curve = draw_curve([0.5, 0.9, 0.8, 0.7, 0.6], [False, True, False, True, True], 5)
    assert curve.confidence.tolist() == [0.9, 0.8, 0.7, 0.6, 0.5]
    assert curve.recall.tolist() == pytest.approx([0.2, 0.2, 0.4, 0.6, 0.6])
    assert curve.precision.tolist() == pytest.approx([1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    assert curve.average_precision == pytest.approx(0.2 * 1 + 0.2 * 0.75 + 0.2 * 0.75)


def test_detections_of_one_confidence_come_together() -> None:
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
    claims: list[tuple[float, bool]],
) -> None:
    faces = max(sum(right for _, right in claims), 1)
    curve = draw_curve([score for score, _ in claims], [right for _, right in claims], faces)
    # The definition, at each number of faces found.
    area = 0.0
    for found in range(1, faces + 1):
        reach = curve.recall >= found / faces - 1e-12
        area += curve.precision[reach].max(initial=0.0) / faces
    assert curve.average_precision == pytest.approx(area)
