from __future__ import annotations

import numpy as np
import pytest

from curate.impact.predictions.metrics import trace_risk
from tests.impact.predictions.test_calibration import arm


def test_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    found = trace_risk([arm(confidence, np.array([True, False, True, False]))])
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.coverage[-1] == 1
    assert found.risk[-1] == 0.5


def test_images_of_equal_confidence_share_their_errors_whatever_their_order() -> None:
    right = np.array([True, False, True, False])
    for order in (right, right[::-1]):
        assert trace_risk([arm(np.full(4, 0.5), order)]).area == pytest.approx(0.5)


def test_an_order_that_knows_its_errors_is_better_than_chance() -> None:
    random = np.random.default_rng(0)
    right = random.random(1000) < 0.7
    knows = np.where(right, 0.9, 0.2)
    assert trace_risk([arm(knows, right)]).area < 0.1
    assert trace_risk([arm(random.random(1000), right)]).area == pytest.approx(0.3, abs=0.06)
