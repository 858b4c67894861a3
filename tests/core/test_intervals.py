from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from curate.core.intervals import (
    Interval,
    Share,
    hull,
    max_t_interval,
    newcombe,
    paired_interval,
    percentiles,
    resample_ratios,
    share_clusters,
    student_quantile,
    wilson,
    zero_events,
)


def coverage_of_wilson(p: float, n: int) -> float:
    """Exact: the chance of each count times whether its interval holds the truth."""
    held = 0.0
    for hits in range(n + 1):
        interval = wilson(Share(hits, n))
        if interval.low <= p <= interval.high:
            held += math.comb(n, hits) * p**hits * (1 - p) ** (n - hits)
    return held


def test_wilson_gives_the_figures_of_the_literature() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
    for hits, total, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = wilson(Share(hits, total))
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [30, 100, 400])
def test_wilson_covers_at_its_level(n: int) -> None:
    covered = [coverage_of_wilson(p, n) for p in np.linspace(0.05, 0.95, 37)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.012)
    assert min(covered) > 0.89


def test_intervals_without_trials_are_vacuous() -> None:
    assert wilson(Share(0, 0)) == Interval(0.0, 1.0)
    assert newcombe(Share(0, 0), Share(1, 2)) == Interval(-1.0, 1.0)
    assert math.isnan(Share(0, 0).value)


def test_newcombe_gives_the_figures_of_the_literature() -> None:
    # Newcombe, Statistics in Medicine 17 (1998) 873-890, table II, method 10.
    for a, b, low, high in (
        (Share(56, 70), Share(48, 80), 0.0524, 0.3339),
        (Share(9, 10), Share(3, 10), 0.1705, 0.8090),
        (Share(10, 10), Share(0, 20), 0.6791, 1.0),
        (Share(10, 10), Share(0, 10), 0.6075, 1.0),
    ):
        found = newcombe(a, b)
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_newcombe_covers_at_its_level() -> None:
    random = np.random.default_rng(5)
    held = 0
    for hits_a, hits_b in zip(
        random.binomial(60, 0.9, 4000), random.binomial(140, 0.75, 4000), strict=True
    ):
        interval = newcombe(Share(int(hits_a), 60), Share(int(hits_b), 140))
        held += interval.low <= 0.15 <= interval.high
    assert held / 4000 == pytest.approx(0.95, abs=0.015)


def bonett_price(b: int, c: int, n: int) -> tuple[float, float]:
    """Their formula for counts: lost, gained and all pairs."""
    lost, gained = (b + 1) / (n + 2), (c + 1) / (n + 2)
    half = 1.959964 * math.sqrt((lost + gained - (gained - lost) ** 2) / (n + 2))
    return gained - lost - half, gained - lost + half


@pytest.mark.parametrize(("b", "c", "n"), [(12, 3, 60), (0, 0, 40), (5, 0, 5)])
def test_of_single_pairs_it_is_bonett_and_prices(b: int, c: int, n: int) -> None:
    found = paired_interval([-1] * b + [1] * c + [0] * (n - b - c))
    low, high = bonett_price(b, c, n)
    assert found == pytest.approx((max(-1, low), min(1, high)), abs=1e-6)


def test_paired_covers_at_its_level() -> None:
    random = np.random.default_rng(6)
    held = 0
    for _ in range(2000):
        differences = random.choice([-1, 0, 1], size=40, p=[0.15, 0.8, 0.05])
        interval = paired_interval(differences)
        held += interval.low <= -0.1 <= interval.high
    assert held / 2000 == pytest.approx(0.955, abs=0.02)
    assert paired_interval([]) == Interval(-1.0, 1.0)


def test_hull_contains_both() -> None:
    assert hull(Interval(0.1, 0.3), Interval(0.2, 0.4)) == Interval(0.1, 0.4)
    assert hull(Interval(0.1, 0.3), None) == Interval(0.1, 0.3)


def test_zero_events_bound_the_rate() -> None:
    upper = zero_events(100).high
    assert math.exp(-100 * upper) == pytest.approx(0.025)  # the chance of seeing none


def simulated_photos(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """60 photos with 1 to 15 faces; each photo has its own chance, 0.8 in the mean."""
    totals = random.integers(1, 16, size=60)
    return random.binomial(totals, random.beta(4, 1, size=60)), totals


def test_the_cluster_bootstrap_covers_with_correlated_faces() -> None:
    random = np.random.default_rng(3)
    held, held_by_wilson = 0, 0
    for _ in range(500):
        hits, totals = simulated_photos(random)
        found = percentiles(resample_ratios(hits[:, None], totals[:, None], draws=400)[:, 0])
        naive = wilson(Share(int(hits.sum()), int(totals.sum())))
        assert found is not None
        held += found.low <= 0.8 <= found.high
        held_by_wilson += naive.low <= 0.8 <= naive.high
    assert held / 500 == pytest.approx(0.94, abs=0.03)
    assert held_by_wilson / 500 < 0.85  # why the bootstrap is needed


def test_columns_share_their_clusters() -> None:
    hits, totals = simulated_photos(np.random.default_rng(1))
    twice = resample_ratios(np.stack([hits, hits], 1), np.stack([totals, totals], 1), draws=50)
    assert (twice[:, 0] == twice[:, 1]).all()


def test_a_seed_decides_and_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    hits, totals = simulated_photos(np.random.default_rng(2))
    args = (hits[:, None], totals[:, None], 100)
    first = resample_ratios(*args, seed=7)
    monkeypatch.setattr("curate.core.intervals._CELLS", 600)
    assert (resample_ratios(*args, seed=7) == first).all()
    assert (resample_ratios(*args, seed=8) != first).any()


def test_degenerate_bootstraps_return_none() -> None:
    ones = np.ones((20, 1))
    assert percentiles(resample_ratios(ones, ones)[:, 0]) is None
    rare = np.zeros((20, 1))
    rare[0] = 1  # a group in one photo only: absent from a third of the resamples
    assert percentiles(resample_ratios(rare, rare)[:, 0]) is None
    assert percentiles([]) is None


@pytest.mark.parametrize("level", [0.5, 0.95, 0.9995])
def test_student_quantiles_are_those_of_scipy(level: float) -> None:
    for df in (1, 2, 3, 4, 10, 11, 200, 201, 10**6):
        expected = float(stdtrit(df, (1 + level) / 2))
        assert student_quantile(level, df) == pytest.approx(expected, rel=1e-5)


def test_the_effective_number_of_trials() -> None:
    alone = share_clusters(np.array([1, 0] * 50), np.ones(100))
    assert alone.effective == pytest.approx(100, rel=0.02)
    together = share_clusters(np.array([4, 0] * 50), np.full(100, 4))
    assert together.effective == pytest.approx(100, rel=0.02)
    everything = share_clusters(np.full(30, 4), np.full(30, 4))
    assert (everything.total, everything.effective) == (120, pytest.approx(30))
    assert everything.interval.low < wilson(Share(30, 30)).low  # Student's t instead of normal
    nothing = share_clusters([], [])
    assert nothing.interval == Interval(0.0, 1.0)
    assert share_clusters([3], [4]).interval == Interval(0.0, 1.0)  # one cluster


def test_few_clusters_widen_percentiles() -> None:
    samples = np.random.default_rng(0).normal(size=4000)
    many, few = percentiles(samples, clusters=5000), percentiles(samples, clusters=8)
    plain = percentiles(samples)
    assert plain is not None
    assert many == pytest.approx(plain, abs=0.01)
    assert few is not None
    assert few.low < plain.low - 0.3
    assert few.high > plain.high + 0.3


def test_simultaneous_intervals_hold_for_every_pair() -> None:
    held = alone = 0
    for seed in range(300):
        random = np.random.default_rng(seed)
        observed = random.normal(0.5, 0.02, 8)
        samples = observed + random.normal(0, 0.02, (300, 8))
        best, worst = int(observed.argmax()), int(observed.argmin())
        found = max_t_interval(samples, observed, (best, worst), 1000)
        assert found is not None
        held += found.low <= 0 <= found.high
        single = percentiles(samples[:, best] - samples[:, worst])
        alone += single is not None and single.low <= 0 <= single.high
    assert held >= 0.93 * 300
    assert alone < 0.7 * 300
    assert max_t_interval(np.ones((50, 2)), np.ones(2), (0, 1), 30) is None
