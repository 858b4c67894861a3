from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from curate.core.errors import WeightsError
from curate.detectors import calibration
from curate.detectors.calibration import (
    Calibration,
    context,
    design_matrix,
    load_calibrations,
    log_odds,
    sigmoid,
)
from curate.detectors.fusion import crop_columns

some = arrays.arrays(np.float64, st.integers(0, 8), elements=st.floats(0, 1))


def known() -> Calibration:
    """Doubles a score's log-odds and adds the context's, at the middle height."""
    first = np.array([2.0, 0.0, 0.0, 0.0])
    second = np.array([2.0, 0.0, 0.0, 0.0, 0.5, 1.0])
    return Calibration(("score",), first, 0.0, second, -1.0)


def test_probabilities_follow_the_formula() -> None:
    scores, heights = np.array([0.8, 0.3]), np.exp([3.2, 3.2])
    found = known().probabilities(log_odds(scores)[:, None], heights)
    alone = sigmoid(2 * log_odds(scores))
    expected = sigmoid(
        2 * log_odds(scores)
        + 0.5 * log_odds(alone[::-1], 0.01)
        + np.log1p([0.0, 1.0])  # only the first is probable
        - 1
    )
    assert found == pytest.approx(expected)


def test_the_design_matrix_has_interactions_with_the_log_height() -> None:
    row = design_matrix(np.array([[1.0, -2.0]]), np.exp([4.2]))[0]
    assert row == pytest.approx([1, -2, 1, -2, 1, 1])


@given(some)
def test_context_is_of_the_others(probabilities: np.ndarray) -> None:
    found = context(probabilities)
    assert found.shape == (len(probabilities), 2)
    for i in range(len(probabilities)):
        others = np.delete(probabilities, i)
        assert found[i, 0] == pytest.approx(log_odds(np.array([others.max(initial=0)]), 0.01)[0])
        assert found[i, 1] == pytest.approx(np.log1p((others >= 0.5).sum()))


@given(some, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(probabilities: np.ndarray, random: object) -> None:
    order = list(range(len(probabilities)))
    random.shuffle(order)  # type: ignore[attr-defined]
    assert context(probabilities[order]) == pytest.approx(context(probabilities)[order])


@pytest.mark.parametrize("name", ["coarse", "full", "thorough", "crops"])
@pytest.mark.parametrize("height", [10.0, 30.0, 120.0])
def test_a_higher_score_is_never_less_probable(name: str, height: float) -> None:
    made = load_calibrations()[name]
    count = len(made.features)
    grid = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    for alone in grid:  # each in an image of its own
        one = np.full((1, count), log_odds(np.array([alone]))[0])
        chance = made.probabilities(one, np.array([height]))
        higher = made.probabilities(one + 1, np.array([height]))
        assert 0 < chance[0] <= higher[0] < 1


def test_columns_of_crops_are_the_features_of_their_calibration() -> None:
    columns = crop_columns(np.array([0.5]), np.array([[0.5], [0.0]]), np.array([50.0]))
    assert columns.shape == (1, len(load_calibrations()["crops"].features))
    assert columns[0].tolist() == [0, 0, log_odds(np.zeros(1))[0], 8]


def test_an_altered_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "SHA256", "0" * 64)
    load_calibrations.cache_clear()
    with pytest.raises(WeightsError, match="not the expected file"):
        load_calibrations()
    load_calibrations.cache_clear()
