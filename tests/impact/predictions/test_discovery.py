from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from curate.impact.predictions.paired import control


def test_it_is_the_procedure_of_the_library() -> None:
    p = np.random.default_rng(0).random(50) ** 3
    np.testing.assert_allclose(control(p), false_discovery_control(p))


def test_by_hand_in_any_order() -> None:
    assert control(np.array([0.04, 0.01, 0.03])) == pytest.approx([0.04, 0.03, 0.04])
    assert control(np.array([])).tolist() == []
