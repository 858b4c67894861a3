"""Bounds: known values, and the coverage of each over simulated datasets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache

import numpy as np
import pytest

from curate.review import bounds
from curate.review.bounds import Looked

DATASETS = 2_000
LEAST = 0.94  # of a nominal one-sided 95 %


@cache
def anytime(found: int, looked: int, population: int | None) -> float:
    return bounds.anytime_upper(Looked(found, looked, population), expected=0.01)


@cache
def fixed(found: int, looked: int, population: int | None, confidence: float = 0.95) -> float:
    return bounds.fixed_upper(Looked(found, looked, population), confidence)


def draw(random: np.random.Generator, population: int, faces: int, looked: int) -> np.ndarray:
    """The answers of a sample without replacement, in order."""
    return random.permutation(np.arange(population) < faces)[:looked]


@pytest.mark.parametrize("share", [0.005, 0.02, 0.1])
def test_clopper_pearson_covers(share: float) -> None:
    found = np.random.default_rng(1).binomial(150, share, DATASETS)
    assert np.mean([fixed(int(k), 150, None) >= share for k in found]) >= LEAST


@pytest.mark.parametrize(
    ("population", "faces", "looked"), [(400, 12, 120), (90, 3, 60), (5000, 50, 300)]
)
def test_hypergeometric_covers(population: int, faces: int, looked: int) -> None:
    found = np.random.default_rng(2).hypergeometric(faces, population - faces, looked, DATASETS)
    covered = [fixed(int(k), looked, population) >= faces / population for k in found]
    assert np.mean(covered) >= LEAST


@pytest.mark.parametrize("share", [0.01, 0.05])
def test_confidence_sequence_covers_at_every_moment(share: float) -> None:
    answers = np.random.default_rng(3).random((DATASETS, 250)) < share
    covered = [
        all(anytime(int(k), n, None) >= share for n, k in enumerate(each.cumsum(), start=1))
        for each in answers
    ]
    assert np.mean(covered) >= LEAST


@pytest.mark.parametrize(("population", "faces"), [(300, 9), (60, 6)])
def test_confidence_sequence_of_a_finite_population_covers(population: int, faces: int) -> None:
    random = np.random.default_rng(4)
    covered = []
    for _ in range(DATASETS):
        found = draw(random, population, faces, population).cumsum()
        truth = faces / population
        covered.append(
            all(anytime(int(k), n, population) >= truth - 1e-12 for n, k in enumerate(found, 1))
        )
    assert np.mean(covered) >= LEAST


STRATA = ((300, 10, 60), (200, 2, 40), (50, 5, 30))
"""Population, images with a face, images looked at."""


def test_stratified_bound_covers() -> None:
    random = np.random.default_rng(5)
    truth = sum(faces for _, faces, _ in STRATA) / sum(size for size, _, _ in STRATA)
    upper = lru_cache(maxsize=None)(
        lambda found: bounds.stratified_upper(
            [Looked(k, n, size) for k, (size, _, n) in zip(found, STRATA, strict=True)]
        )
    )
    covered = [
        upper(tuple(int(random.hypergeometric(f, size - f, n)) for size, f, n in STRATA)) >= truth
        for _ in range(DATASETS)
    ]
    assert np.mean(covered) >= LEAST


def test_stratified_confidence_sequence_covers_at_every_moment() -> None:
    random = np.random.default_rng(6)
    total = sum(size for size, _, _ in STRATA)
    truth = sum(faces for _, faces, _ in STRATA) / total
    one = lru_cache(maxsize=None)(
        lambda k, n, size: bounds.anytime_upper(Looked(k, n, size), 1 - 0.05 / len(STRATA))
    )
    covered = []
    for _ in range(DATASETS):
        curves = []
        for size, faces, looked in STRATA:
            found = draw(random, size, faces, looked).cumsum()
            curves.append([size / total * one(int(k), n, size) for n, k in enumerate(found, 1)])
        # The strata are looked at side by side, each to its own end.
        moments = max(map(len, curves))
        upper = [sum(c[min(t, len(c) - 1)] for c in curves) for t in range(moments)]
        covered.append(min(upper) >= truth)
    assert np.mean(covered) >= LEAST


@pytest.mark.parametrize("sensitivity", [0.6, 0.9])
def test_bound_divided_by_sensitivity_covers(sensitivity: float) -> None:
    random, share = np.random.default_rng(7), 0.05
    hits = random.binomial(60, sensitivity, DATASETS)
    found = random.binomial(200, share * sensitivity, DATASETS)
    lower = lru_cache(maxsize=None)(lambda k: bounds.sensitivity_lower(k, 60, 0.975))
    covered = [
        bounds.divide_by_sensitivity(fixed(int(k), 200, None, 0.975), lower(int(h))) >= share
        for k, h in zip(found, hits, strict=True)
    ]
    assert np.mean(covered) >= LEAST


def test_bound_without_the_division_is_too_low_for_a_poor_reviewer() -> None:
    found = np.random.default_rng(7).binomial(200, 0.05 * 0.6, DATASETS)
    assert np.mean([fixed(int(k), 200, None) >= 0.05 for k in found]) < 0.8


@pytest.mark.parametrize(
    ("at_most", "allowed", "size"), [(0.01, 0, 299), (0.01, 1, 473), (0.001, 0, 2995)]
)
def test_sample_sizes_of_the_literature(at_most: float, allowed: int, size: int) -> None:
    assert bounds.sample_size(at_most, allowed=allowed) == size


@pytest.mark.parametrize("anytime_valid", [False, True])
@pytest.mark.parametrize("population", [None, 30, 1000, 100_000])
def test_sample_size_is_the_least_that_is_enough(
    population: int | None, anytime_valid: bool
) -> None:
    size = bounds.sample_size(0.02, population=population, anytime=anytime_valid)

    def upper(looked: int) -> float:
        sample = Looked(0, looked, population)
        return (
            bounds.anytime_upper(sample, 0.95, 0.01)
            if anytime_valid
            else fixed(0, looked, population)
        )

    assert upper(size) <= 0.02 < upper(size - 1)


def test_looking_at_everything_leaves_no_doubt() -> None:
    assert fixed(3, 100, 100) == pytest.approx(0.03)
    assert anytime(3, 100, 100) == pytest.approx(0.03)


@pytest.mark.parametrize("upper", [anytime, fixed])
@pytest.mark.parametrize("population", [None, 500])
def test_more_answers_lower_the_bound_and_finds_raise_it(
    upper: Callable[[int, int, int | None], float], population: int | None
) -> None:
    assert upper(0, 0, population) == 1
    assert upper(0, 50, population) > upper(0, 100, population) > upper(0, 400, population)
    assert upper(0, 100, population) < upper(1, 100, population) < upper(5, 100, population)
    assert upper(100, 100, population) == 1


def test_allocation_meets_the_target_and_no_stratum_is_over_drawn() -> None:
    sizes = (50_000, 8_000, 40)
    counts = bounds.allocate(sizes, 0.01)
    samples = [Looked(0, n, size) for n, size in zip(counts, sizes, strict=True)]
    assert bounds.stratified_upper(samples) <= 0.01
    assert all(n <= size for n, size in zip(counts, sizes, strict=True))
    fewer = [Looked(0, int(0.9 * n), size) for n, size in zip(counts, sizes, strict=True)]
    assert bounds.stratified_upper(fewer) > 0.01
