from __future__ import annotations

import numpy as np
import pytest

from curate.impact.predictions.metrics import (
    are_probabilities,
    log_softmax,
    rank_dense,
    rank_listed,
    spread,
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
