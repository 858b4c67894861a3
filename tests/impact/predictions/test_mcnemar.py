from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest

from curate.impact.arms import Hits
from curate.impact.predictions.paired import exact_p, mcnemar
from tests.impact.predictions.experiments import draw_hits


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (0, 6), (3, 3), (10, 2), (480, 520)])
def test_p_is_the_binomial_tests(b: int, c: int) -> None:
    expected = binomtest(b, b + c).pvalue if b + c else 1.0
    assert float(exact_p(b, c)) == pytest.approx(expected)


def test_by_hand() -> None:
    # One of six the other way: 2 · (1 + 6) / 2⁶.
    assert float(exact_p(5, 1)) == pytest.approx(14 / 64)


def test_counts_what_is_lost_and_gained() -> None:
    before = np.array([1, 1, 1, 0, 0], dtype=bool)[:, None]
    after = np.array([1, 0, 0, 1, 0], dtype=bool)[:, None]
    found = mcnemar(Hits(before, after))
    assert (found.b, found.c) == (2, 1)


def test_several_models_of_one_image_are_one_witness() -> None:
    one = draw_hits(np.random.default_rng(0), 200, lost=0.05, gained=0.01)
    five = Hits(np.repeat(one.original, 5, axis=1), np.repeat(one.obfuscated, 5, axis=1))
    assert mcnemar(five) == mcnemar(one)


def test_of_no_effect_it_finds_one_as_seldom_as_it_says() -> None:
    random = np.random.default_rng(9)
    found = [mcnemar(draw_hits(random, 1000, 0.05, 0.05)).p <= 0.05 for _ in range(2000)]
    # An exact test keeps below its level; four standard errors above it is a fault.
    assert np.mean(found) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2000)
    assert np.mean(found) > 0.015
