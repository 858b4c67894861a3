from __future__ import annotations

import numpy as np
import pytest

from curate.impact.predictions.metrics import average_precision, average_precisions


def slow_average_precision(scores: np.ndarray, positive: np.ndarray) -> float:
    """By its definition: every threshold, the gain of recall times precision."""
    area, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        chosen = scores >= threshold
        now = positive[chosen].sum() / positive.sum()
        area += (now - recall) * positive[chosen].mean()
        recall = now
    return area


def test_a_case_by_hand() -> None:
    # Positives come first, third and fourth: precisions 1, 2/3 and 3/4.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.1], dtype=np.float32)
    assert average_precision(scores, np.array([0, 2, 3])) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_a_score_that_says_nothing_gets_the_share_of_positives() -> None:
    assert average_precision(np.zeros(8, dtype=np.float32), np.array([1, 5])) == 0.25


@pytest.mark.parametrize("seed", range(20))
def test_it_is_its_definition_with_ties_and_unlisted_images(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, size=40).astype(np.float32)
    scores[random.random(40) < 0.2] = -np.inf
    positive = random.random(40) < 0.3
    positive[0] = True
    found = average_precision(scores, np.flatnonzero(positive))
    assert found == pytest.approx(slow_average_precision(scores, positive))


def test_blocks_of_classes_are_put_together_and_a_class_without_images_has_none() -> None:
    random = np.random.default_rng(1)
    scores = random.normal(size=(30, 5)).astype(np.float32)
    labels = random.choice([0, 1, 3, 4], size=30)
    whole = average_precisions([(0, scores)], labels, 5)
    parts = average_precisions([(0, scores[:, :2]), (2, scores[:, 2:])], labels, 5)
    np.testing.assert_array_equal(whole, parts)
    assert np.isnan(whole).tolist() == [False, False, True, False, False]
    expected = slow_average_precision(scores[:, 3], labels == 3)
    assert whole[3] == pytest.approx(expected)
