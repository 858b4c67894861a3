from __future__ import annotations

import math

import numpy as np
import pytest

from curate.impact.experiment import Hits
from curate.impact.variance_components import (
    Estimate,
    decompose,
    estimate_accuracy,
    estimate_difference,
    estimate_gap,
    estimate_growth,
)

DROP = 0.03


def draw(
    random: np.random.Generator, n: int, seeds: int, of_images: float, of_seeds: float
) -> Hits:
    """Images that are lost 3 points more often than gained; how often varies by image and seed."""
    images = random.choice([-of_images, of_images], size=(n, 1))
    networks = random.normal(0, of_seeds, size=(1, seeds))
    lean = np.clip((DROP + images + networks) / 2, -0.25, 0.25)
    chance = random.random((n, seeds))
    lost, gained = chance < 0.25 + lean, (chance >= 0.25 + lean) & (chance < 0.5)
    return Hits(~gained, ~lost)


def held(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


@pytest.mark.parametrize("seeds", [1, 2, 3, 5, 10])
@pytest.mark.parametrize(("of_images", "of_seeds"), [(0.0, 0.0), (0.3, 0.0), (0.2, 0.04)])
def test_interval_of_a_planted_drop_has_nominal_coverage(
    seeds: int, of_images: float, of_seeds: float
) -> None:
    random = np.random.default_rng([7, seeds])
    if seeds == 1:
        of_seeds = 0.0  # of one seed nothing is said of others
    found = [estimate_difference(draw(random, 250, seeds, of_images, of_seeds)) for _ in range(400)]
    share = np.mean([held(each.interval, -DROP) for each in found])
    assert share >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_interval_is_not_too_wide_with_many_seeds() -> None:
    random = np.random.default_rng(8)
    found = [estimate_difference(draw(random, 250, 10, 0.2, 0.04)) for _ in range(400)]
    share = np.mean([held(each.interval, -DROP) for each in found])
    assert share <= 0.98
    truth = np.std([each.value for each in found])
    width = np.median([each.interval.high - each.interval.low for each in found])
    assert width / 2 == pytest.approx(1.96 * truth, rel=0.35)


def test_interval_over_images_alone_undercovers_other_seeds() -> None:
    random = np.random.default_rng(9)
    alone = crossed = 0
    for _ in range(300):
        hits = draw(random, 2000, 3, 0.0, 0.06)
        over_images = decompose([hits.differences.mean(axis=1, keepdims=True)])
        alone += held(over_images.around(float(hits.differences.mean())), -DROP)
        crossed += held(estimate_difference(hits).interval, -DROP)
    assert alone / 300 < 0.6
    assert crossed / 300 >= 0.9


def test_p_has_nominal_size_under_the_null() -> None:
    random = np.random.default_rng(10)
    found = []
    for _ in range(400):
        seeds = random.normal(0, 0.05, size=(1, 3))
        chance = random.random((100, 3))
        lost = chance < np.clip(0.2 + seeds / 2, 0, 0.4)
        gained = (chance >= 0.6) & (chance < 0.8 - seeds / 2)
        found.append(estimate_difference(Hits(~gained, ~lost)).p)
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


@pytest.mark.parametrize("seeds", [1, 3])
def test_interval_of_accuracy_has_nominal_coverage(seeds: int) -> None:
    random = np.random.default_rng([11, seeds])
    inside = 0
    for _ in range(400):
        easy = random.beta(2, 1, size=(120, 1))  # two thirds in the mean
        networks = random.normal(0, 0.03, size=(1, seeds)) if seeds > 1 else 0.0
        hits = random.random((120, seeds)) < easy + networks
        inside += held(estimate_accuracy(hits).interval, 2 / 3)
    assert inside / 400 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 400)


def test_intervals_of_gaps_and_growth_have_nominal_coverage() -> None:
    random = np.random.default_rng(12)
    gaps = growths = 0
    for _ in range(300):
        networks = random.normal(0, 0.03, size=(1, 3))
        before = [random.random((60, 3)) < 0.8 + networks, random.random((90, 3)) < 0.6 + networks]
        after = [random.random((60, 3)) < 0.75 + networks, random.random((90, 3)) < 0.5 + networks]
        gaps += held(estimate_gap(before[0], before[1]).interval, 0.2)
        growth = estimate_growth(Hits(before[0], after[0]), Hits(before[1], after[1]))
        growths += held(growth.interval, 0.05)
    assert min(gaps, growths) / 300 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)


def test_one_seed_gives_the_paired_t_interval() -> None:
    values = np.array([[1.0], [0.0], [-1.0], [0.0], [1.0], [1.0]])
    spread = decompose([values])
    assert spread.variance == pytest.approx(values.var(ddof=1) / 6)
    assert spread.df == 5


def test_mean_squares_equal_two_way_anova() -> None:
    values = np.random.default_rng(1).random((12, 4)) + np.arange(4) + np.arange(12)[:, None]
    rows, columns = values.mean(axis=1, keepdims=True), values.mean(axis=0, keepdims=True)
    images = 4 * ((rows - values.mean()) ** 2).sum() / 11
    seeds = 12 * ((columns - values.mean()) ** 2).sum() / 3
    rest = ((values - rows - columns + values.mean()) ** 2).sum() / 33
    spread = decompose([values])
    total = images + seeds - rest
    assert spread.variance == pytest.approx(total / 48)
    assert spread.df == pytest.approx(total**2 / (images**2 / 11 + seeds**2 / 3 + rest**2 / 33))


def test_identical_predictions_have_no_gap_and_a_narrow_interval() -> None:
    same = np.random.default_rng(2).random((500, 3)) < 0.7
    found = estimate_difference(Hits(same, same))
    assert (found.value, found.p, found.per_seed) == (0.0, 1.0, (0.0, 0.0, 0.0))
    assert -0.01 < found.interval.low < 0 < found.interval.high < 0.01


def test_p_is_the_exact_test_where_every_image_is_lost() -> None:
    right = np.ones((6, 3), dtype=bool)
    found = estimate_difference(Hits(right, ~right))
    assert found.value == -1
    assert found.p == pytest.approx(2 * 0.5**6)
    assert found.interval.low == -1
    assert found.interval.high > -1


def test_p_and_interval_agree_on_whether_there_is_an_effect() -> None:
    random = np.random.default_rng(13)
    close = 0
    for _ in range(300):
        hits = draw(random, 60, 5, 0.2, 0.02)
        gap = estimate_growth(draw(random, 40, 5, 0.2, 0.1), draw(random, 50, 5, 0.2, 0.1))
        for each in (estimate_difference(hits), gap):
            excluded = not held(each.interval, 0)
            assert each.p > 0.05 or excluded
            close += excluded
    assert close > 10


def test_empty_and_single_images_have_wide_intervals() -> None:
    nothing = np.zeros((0, 3), dtype=bool)
    found = estimate_difference(Hits(nothing, nothing))
    assert math.isnan(found.value)
    assert found.interval == (-1.0, 1.0)
    assert estimate_accuracy(nothing).interval == (0.0, 1.0)
    one = np.ones((1, 3), dtype=bool)
    lone: Estimate = estimate_difference(Hits(one, ~one))
    assert (lone.n, lone.value, lone.p) == (1, -1.0, 1.0)
    assert estimate_accuracy(one).interval.low < 0.3
