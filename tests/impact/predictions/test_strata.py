from __future__ import annotations

import numpy as np
import pytest

from curate.impact.arms import Hits
from curate.impact.predictions.strata import (
    Faces,
    by_blurred_share,
    by_faces,
    by_presence,
    fit_slope,
)
from curate.impact.resample import make_bootstrap

QUICK = make_bootstrap(1, draws=300)


def draw(random: np.random.Generator, n: int, slope: float) -> tuple[Hits, Faces]:
    """Images of which 40 % have faces; each is lost with a chance of slope × share."""
    shares = np.where(random.random(n) < 0.4, random.beta(1, 6, n), 0.0)
    before = random.random(n) < 0.9
    after = before & ~(random.random(n) < slope * shares / 0.9)
    counts = np.where(shares > 0, random.integers(1, 14, n), 0)
    return Hits(before[:, None], after[:, None]), Faces(shares, counts)


def test_every_image_is_in_one_bin() -> None:
    hits, faces = draw(np.random.default_rng(0), 500, 0.5)
    for strata in (by_blurred_share(hits, faces, QUICK), by_faces(hits, faces, QUICK)):
        assert sum(stratum.top1.n for stratum in strata) == 500
    present, absent = by_presence(hits, faces, QUICK)
    assert present.n + absent.n == 500
    assert absent.difference == 0 > present.difference


def test_bins_hold_their_upper_end_and_nothing_hidden_is_a_bin_by_itself() -> None:
    faces = Faces(np.array([0.0, 0.01, 0.0101, 1.0]), np.array([0, 1, 4, 11]))
    hits = Hits(np.ones((4, 1), dtype=bool), np.ones((4, 1), dtype=bool))
    by_share = by_blurred_share(hits, faces, QUICK)
    assert [stratum.top1.n for stratum in by_share] == [1, 1, 1, 0, 0, 0, 1]
    by_count = by_faces(hits, faces, QUICK)
    assert [(each.low, each.high, each.top1.n) for each in by_count] == [
        (0, 0, 1),
        (1, 1, 1),
        (2, 2, 0),
        (3, 4, 1),
        (5, 9, 0),
        (10, None, 1),
    ]


def test_the_slope_is_least_squares() -> None:
    hits, faces = draw(np.random.default_rng(1), 300, 0.5)
    found = fit_slope(hits, faces, QUICK)
    assert found is not None
    expected = np.polyfit(faces.shares, hits.differences[:, 0], 1)[0]
    assert found.value == pytest.approx(expected)


def test_a_planted_slope_is_in_its_interval_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    held = 0
    for _ in range(200):
        found = fit_slope(*draw(random, 800, 0.6), QUICK)
        assert found is not None
        assert found.interval is not None
        held += found.interval.low <= -0.6 <= found.interval.high
    assert held / 200 == pytest.approx(0.95, abs=0.05)


def test_shares_that_are_all_the_same_have_no_slope() -> None:
    hits, faces = draw(np.random.default_rng(3), 50, 0.5)
    assert fit_slope(hits, Faces(np.zeros(50), faces.counts), QUICK) is None
