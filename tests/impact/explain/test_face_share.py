from __future__ import annotations

import math

import numpy as np
import pytest

from curate.impact.explain.measure import (
    Shares,
    correlate,
    estimate,
    share_inside,
    summarize,
    to_cells,
)
from curate.impact.placement import place_shapes


def test_only_positive_attribution_counts() -> None:
    attribution = np.array([[3.0, -9.0], [1.0, 0.0]])
    coverage = np.array([[0.5, 1.0], [0.0, 1.0]])
    assert share_inside(attribution, coverage) == pytest.approx(1.5 / 4)
    assert math.isnan(share_inside(-np.abs(attribution), coverage))


def make(values: list[tuple[float, ...]]) -> list[Shares]:
    return [Shares(*each) for each in values]


def test_means_ratios_and_paired_differences() -> None:
    shares = make([(0.1, 0.4, 0.2, 0.1, 0.05), (0.3, 0.8, 0.4, 0.3, 0.3)])
    found = summarize(shares, seed=0)
    assert (found.n, found.left_out, found.placed) == (2, 0, 2)
    assert found.area == pytest.approx(0.2)
    assert found.original.share.value == pytest.approx(0.6)
    assert found.original.ratio.value == pytest.approx(3.0)
    assert found.obfuscated.ratio.value == pytest.approx(1.5)
    assert found.difference.value == pytest.approx(-0.3)
    assert found.original.elsewhere.value == pytest.approx(1.0)
    assert found.original.share.interval is None  # of two images


def test_images_without_share_or_space_are_counted() -> None:
    nan = math.nan
    shares = make([(0.1, 0.4, nan, 0.1, 0.1), (0.3, 0.8, 0.4, nan, nan), (0.2, 0.1, 0.1, 0.2, 0.2)])
    found = summarize(shares, seed=0)
    assert (found.n, found.left_out, found.placed) == (2, 1, 1)
    nothing = summarize(shares[:1], seed=0)
    assert nothing.n == 0
    assert math.isnan(nothing.original.ratio.value)
    assert summarize([], seed=0).left_out == 0


def test_the_same_seed_gives_the_same_intervals() -> None:
    random = np.random.default_rng(4)
    shares = make([tuple(row) for row in random.uniform(0.05, 0.9, size=(12, 5))])
    assert summarize(shares, 3) == summarize(shares, 3)
    assert summarize(shares, 3) != summarize(shares, 4)


@pytest.mark.parametrize("n", [6, 20])
def test_interval_of_the_mean_has_nominal_coverage(n: int) -> None:
    random = np.random.default_rng(n)
    truth, hits, rounds = 0.25, 0, 400
    for seed in range(rounds):
        found = estimate(random.beta(2, 6, size=n), seed)
        assert found.interval is not None
        hits += found.interval.low <= truth <= found.interval.high
    assert 0.92 <= hits / rounds <= 0.99


def test_uniform_attribution_has_ratio_one() -> None:
    random = np.random.default_rng(1)
    hits = 0
    for seed in range(150):
        area = random.uniform(0.02, 0.3, size=20)
        noise = random.uniform(0.5, 1.5, size=(2, 20))
        rows = np.stack([area, area * noise[0], area * noise[1], area, area], axis=1)
        found = summarize(make([tuple(row) for row in rows]), seed)
        assert found.original.ratio.interval is not None
        low, high = found.original.ratio.interval
        hits += low <= 1 <= high
    assert hits / 150 >= 0.9


def test_moved_shapes_keep_their_size_and_avoid_faces() -> None:
    coverage = np.zeros((40, 50))
    coverage[4:12, 6:15] = 1
    coverage[12, 6:15] = 0.5
    coverage[30:35, 40:44] = 1
    found = place_shapes(coverage, np.random.default_rng(0), 12)
    assert len(found) == 12
    for other in found:
        assert other.sum() == coverage.sum()
        assert not ((other > 0) & (coverage > 0)).any()
    assert len({other.tobytes() for other in found}) == 12
    again = place_shapes(coverage, np.random.default_rng(0), 12)
    assert all((a == b).all() for a, b in zip(found, again, strict=True))


def test_no_space_gives_no_placement() -> None:
    coverage = np.zeros((20, 20))
    coverage[2:18, 2:18] = 1
    assert place_shapes(coverage, np.random.default_rng(0), 3) == []
    assert place_shapes(np.zeros((20, 20)), np.random.default_rng(0), 3) == []


def test_maps_are_compared_by_the_ranks_of_their_cells() -> None:
    random = np.random.default_rng(0)
    a = random.uniform(0, 1, size=(56, 56))
    cells = to_cells(a)
    assert cells.shape == (196,)
    assert cells.sum() == pytest.approx(a.sum())
    assert correlate(cells, to_cells(a)) == pytest.approx(1)
    assert correlate(cells, cells**3) == pytest.approx(1)
    assert correlate(cells, -cells) == pytest.approx(-1)
    assert abs(correlate(cells, to_cells(random.uniform(0, 1, size=(56, 56))))) < 0.25
    assert math.isnan(correlate(cells, np.ones(196)))
    assert to_cells(np.ones((5, 60))).shape == (70,)
