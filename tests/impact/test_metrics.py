from __future__ import annotations

import numpy as np
import pytest

from curate.core.calibration import BINS
from curate.impact.experiment import Arm
from curate.impact.metrics import (
    are_probabilities,
    average_precision,
    average_precisions,
    calibrate,
    log_softmax,
    rank_dense,
    rank_listed,
    spread,
    trace_risk,
)

SCORES = np.array([[0.1, 0.7, 0.2], [0.4, 0.4, 0.2], [0.3, 0.3, 0.4]], dtype=np.float32)


def test_all_classes_are_ranked_and_ties_go_to_the_earlier_class() -> None:
    found = rank_dense(SCORES, np.array([2, 1, 0]))
    assert found.predicted.tolist() == [1, 0, 2]
    assert found.rank.tolist() == [1, 1, 1]
    assert found.confidence == pytest.approx([0.7, 0.4, 0.4])


@pytest.mark.parametrize("seed", range(5))
def test_the_label_is_first_exactly_where_it_is_predicted(seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 3, size=(50, 6)).astype(np.float32)
    labels = random.integers(0, 6, size=50)
    found = rank_dense(scores, labels)
    assert ((found.rank == 0) == (found.predicted == labels)).all()
    order = np.argsort(-scores, axis=1, kind="stable")
    assert (order[np.arange(50), found.rank] == labels).all()


def test_a_list_ranks_as_the_whole_does_as_far_as_it_goes() -> None:
    random = np.random.default_rng(0)
    scores = random.random((40, 8)).astype(np.float32)
    labels = random.integers(0, 8, size=40)
    best = np.argsort(-scores, axis=1)[:, :3]
    whole = rank_dense(scores, labels)
    listed = rank_listed(best, np.take_along_axis(scores, best, axis=1), labels)
    assert (listed.predicted == whole.predicted).all()
    assert (listed.rank == np.minimum(whole.rank, 3)).all()
    full = spread(best, np.take_along_axis(scores, best, axis=1), 8)
    assert np.isneginf(full).sum() == 40 * 5
    assert (full[np.arange(40), whole.predicted] == scores.max(axis=1)).all()


def test_probabilities_are_known_from_other_scores() -> None:
    assert are_probabilities(SCORES, complete=True)
    assert are_probabilities(SCORES[:, 1:], complete=False)
    assert not are_probabilities(SCORES[:, 1:], complete=True)
    assert not are_probabilities(SCORES - 0.2, complete=False)
    assert not are_probabilities(SCORES * 3, complete=False)


def test_logarithms_of_probabilities_stay_finite() -> None:
    found = log_softmax(np.array([[1000.0, 0.0], [0.0, 0.0]], dtype=np.float32))
    assert found[0].tolist() == [0.0, -1000.0]
    assert np.exp(found[1]) == pytest.approx([0.5, 0.5])


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


def test_constant_score_gives_the_prevalence() -> None:
    assert average_precision(np.zeros(8, dtype=np.float32), np.array([1, 5])) == 0.25


@pytest.mark.parametrize("seed", range(20))
def test_average_precision_equals_its_definition(seed: int) -> None:
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


def arm(confidence: np.ndarray, right: np.ndarray) -> Arm:
    nothing = np.zeros(len(right), dtype=np.int64)
    return Arm(nothing, np.where(right, 0, 1), confidence, np.zeros(1))


def test_calibration_by_hand() -> None:
    # Bin 12 holds .8 (one right of two), bin 15 holds 1 (right): 2/3 · .3 + 1/3 · 0.
    found = calibrate([arm(np.array([0.8, 0.8, 1.0]), np.array([True, False, True]))])
    assert found.ece == pytest.approx(2 / 3 * 0.3)
    assert [each.n for each in found.bins if each.n] == [2, 1]
    assert found.bins[-1].accuracy == 1


def test_calibrated_and_overconfident_models() -> None:
    random = np.random.default_rng(0)
    said = random.random(40_000)
    assert calibrate([arm(said, random.random(40_000) < said)]).ece < 0.015
    assert calibrate([arm(said, random.random(40_000) < said / 2)]).ece == pytest.approx(
        0.25, abs=0.015
    )


def test_confidence_at_the_ends_has_a_bin() -> None:
    found = calibrate([arm(np.array([0.0, 1.0]), np.array([True, True]))])
    assert len(found.bins) == BINS
    assert (found.bins[0].n, found.bins[-1].n) == (1, 1)


def test_selective_accuracy_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    found = trace_risk([arm(confidence, np.array([True, False, True, False]))])
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.coverage[-1] == 1
    assert found.risk[-1] == 0.5


def test_images_of_equal_confidence_share_their_errors_whatever_their_order() -> None:
    right = np.array([True, False, True, False])
    for order in (right, right[::-1]):
        assert trace_risk([arm(np.full(4, 0.5), order)]).area == pytest.approx(0.5)


def test_informative_confidence_beats_chance() -> None:
    random = np.random.default_rng(0)
    right = random.random(1000) < 0.7
    knows = np.where(right, 0.9, 0.2)
    assert trace_risk([arm(knows, right)]).area < 0.1
    assert trace_risk([arm(random.random(1000), right)]).area == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("n", [100, 500, 5000])
@pytest.mark.parametrize("shift", [0.0, 0.03, 0.1])
def test_the_interval_of_the_calibration_error_covers_the_truth(n: int, shift: float) -> None:
    """Accuracy is ``shift`` below confidence everywhere, which is then the true error."""
    held, found = 0, []
    for seed in range(500):
        random = np.random.default_rng([seed, n])
        confidence = 0.1 + 0.9 * random.beta(6, 1.5, n)
        one = calibrate([arm(confidence, random.random(n) < confidence - shift)])
        held += one.interval.low <= shift <= one.interval.high
        found.append((one.ece, one.debiased, one.calibrated))
    assert held >= 0.93 * 500
    error, debiased, calibrated = np.mean(found, axis=0)
    assert shift <= debiased + 0.002
    assert debiased - shift < 0.75 * max(error - shift, 0.01)
    if shift == 0:
        assert error == pytest.approx(calibrated, rel=0.1)


def test_predictions_of_several_models_on_one_image_are_one_cluster() -> None:
    random = np.random.default_rng(0)
    confidence = random.random(400)
    one = arm(confidence, random.random(400) < confidence)
    assert calibrate([one, one, one]).interval == pytest.approx(calibrate([one]).interval)
