from __future__ import annotations

import numpy as np
import pytest

from curate.impact.arms import Arm
from curate.impact.predictions.metrics import BINS, calibrate


def arm(confidence: np.ndarray, right: np.ndarray) -> Arm:
    nothing = np.zeros(len(right), dtype=np.int64)
    return Arm(nothing, np.where(right, 0, 1), confidence, np.zeros(1))


def test_by_hand() -> None:
    # Bin 12 holds .8 (one right of two), bin 15 holds 1 (right): 2/3 · .3 + 1/3 · 0.
    found = calibrate([arm(np.array([0.8, 0.8, 1.0]), np.array([True, False, True]))])
    assert found.ece == pytest.approx(2 / 3 * 0.3)
    assert [each.n for each in found.bins if each.n] == [2, 1]
    assert found.bins[-1].accuracy == 1


def test_who_says_what_he_can_has_no_error_and_who_is_too_sure_has_it() -> None:
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
