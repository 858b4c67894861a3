from __future__ import annotations

import numpy as np
import pytest

from curate.balance.audit.adjusted import Crossing, adjust, find_reversals
from curate.balance.audit.measure import Rules, compute_statistics
from curate.balance.groups import MISSING
from tests.balance.audit.surveys import survey

# Charig et al., BMJ 292 (1986): kidney stones, as every textbook has it.
STONES = Crossing(
    label="success",
    attribute="treatment",
    groups=("open", "puncture"),
    within="size",
    parts=("small", "large"),
    hits=np.array([[81, 192], [234, 55]]),
    sizes=np.array([[87, 263], [270, 80]]),
)


def times(crossing: Crossing, factor: int) -> Crossing:
    return Crossing(
        crossing.label, crossing.attribute, crossing.groups, crossing.within, crossing.parts,
        crossing.hits * factor, crossing.sizes * factor,
    )  # fmt: skip


def test_a_reversal_in_enough_records_is_found() -> None:
    [found] = find_reversals(times(STONES, 4))
    assert found.difference == pytest.approx(273 / 350 - 289 / 350)
    assert found.parts == pytest.approx(
        {"small": 81 / 87 - 234 / 270, "large": 192 / 263 - 55 / 80}
    )
    assert found.adjusted_interval.low > 0 > found.interval.high
    assert found.parts["large"] > found.adjusted_interval.low


def test_a_reversal_that_may_be_chance_is_not() -> None:
    assert list(find_reversals(STONES)) == []


def test_noise_is_no_reversal() -> None:
    random = np.random.default_rng(0)
    found = 0
    for _ in range(300):
        sizes = random.integers(20, 200, size=(3, 2))
        hits = random.binomial(sizes, 0.4)
        noise = Crossing("l", "a", ("x", "y", "z"), "b", ("p", "q"), hits, sizes)
        found += len(list(find_reversals(noise)))
    assert found <= 1


def test_parts_without_one_of_the_groups_do_not_count() -> None:
    one = Crossing("l", "a", ("x", "y"), "b", ("p", "q"),
                   np.array([[90, 0], [10, 5]]), np.array([[100, 0], [100, 10]]))  # fmt: skip
    assert list(find_reversals(one)) == []


# Bickel, Hammel and O'Connell, Science 187 (1975): admissions to six departments of Berkeley.
BERKELEY = Crossing(
    label="admitted",
    attribute="gender",
    groups=("female", "male"),
    within="department",
    parts=tuple("ABCDEF"),
    hits=np.array([[89, 17, 202, 131, 94, 24], [512, 353, 120, 138, 53, 22]]),
    sizes=np.array([[108, 25, 593, 375, 393, 341], [825, 560, 325, 417, 191, 373]]),
)


def test_the_difference_at_berkeley_vanishes_within_departments() -> None:
    women, men = adjust(BERKELEY)
    assert women.crude == pytest.approx(557 / 1835 - 1198 / 2691)
    assert women.crude_interval.high < -0.1
    assert abs(women.adjusted) < 0.03
    assert women.kind == men.kind == "vanished"
    assert men.adjusted == pytest.approx(-women.adjusted)
    # R: DescTools::BreslowDayTest(UCBAdmissions, correct=TRUE) gives 18.8 on 5 degrees.
    assert women.heterogeneity_p == pytest.approx(0.0021, abs=0.0003)


def test_kidney_stones_with_a_third_stratum_of_two_records_still_reverse() -> None:
    for factor in (1, 4):
        many = times(STONES, factor)
        more = Crossing(
            many.label, many.attribute, many.groups, many.within, ("small", "large", "unknown"),
            np.hstack([many.hits, [[0], [1]]]), np.hstack([many.sizes, [[1], [1]]]),
        )  # fmt: skip
        open_surgery, puncture = adjust(more)
        assert open_surgery.crude < -0.04
        assert open_surgery.adjusted > 0.04
        assert open_surgery.kind == puncture.kind == "reversed"


def draw_crossing(
    random: np.random.Generator, sizes: np.ndarray, rates: np.ndarray, clusters: int = 0
) -> Crossing:
    """Counts of two groups in strata of known rates."""
    hits = random.binomial(sizes, rates)
    names = tuple(map(str, range(sizes.shape[1])))
    return Crossing("l", "a", ("x", "y"), "s", names, hits, sizes)


@pytest.mark.parametrize(
    ("strata", "size", "level", "effect"),
    [
        (2, 200, 0.5, 0.0),
        (6, 40, 0.3, 0.1),
        (10, 8, 0.4, 0.0),
        (40, 2, 0.5, 0.1),
        (5, 30, 0.03, 0.0),
        (3, 15, 0.9, 0.05),
    ],
)
def test_intervals_of_adjusted_differences_cover_the_truth(
    strata: int, size: int, level: float, effect: float
) -> None:
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        sizes = random.integers(max(1, size // 2), size * 2 + 1, size=(2, strata))
        base = np.clip(random.normal(level, 0.1, strata), 0.01, 0.94 - effect)
        found = next(adjust(draw_crossing(random, sizes, np.stack([base + effect, base]))))
        covered += found.adjusted_interval.low <= effect <= found.adjusted_interval.high
    assert covered >= 0.93 * 500


def test_heterogeneity_is_not_found_where_there_is_none() -> None:
    random, rejected = np.random.default_rng(1), 0
    for _ in range(500):
        sizes = random.integers(30, 100, size=(2, 5))
        odds = np.exp(random.normal(0, 0.5, 5))
        rates = np.stack([2 * odds / (1 + 2 * odds), odds / (1 + odds)])
        found = next(adjust(draw_crossing(random, sizes, rates)))
        rejected += found.heterogeneity_p is not None and found.heterogeneity_p < 0.05
    assert rejected <= 0.075 * 500


def test_confounded_differences_are_told_from_real_ones() -> None:
    random = np.random.default_rng(2)
    kinds = {"confounded": 0, "real": 0, "null": 0}
    for _ in range(200):
        sizes = np.array([[400, 100], [100, 400]])
        confounded = draw_crossing(random, sizes, np.array([[0.2, 0.6], [0.2, 0.6]]))
        real = draw_crossing(random, sizes, np.array([[0.2, 0.6], [0.4, 0.8]]))
        null = draw_crossing(random, sizes, np.full((2, 2), 0.4))
        kinds["confounded"] += next(adjust(confounded)).kind == "vanished"
        kinds["real"] += next(adjust(real)).kind in ("same", "vanished")
        kinds["null"] += next(adjust(null)).kind != "same"
    assert kinds["confounded"] >= 180
    assert kinds["null"] <= 10


def test_missing_values_are_no_stratum() -> None:
    rows = [("x", "p", "yes"), ("y", "p", "no"), ("x", MISSING, "no"), ("y", MISSING, "yes")] * 20
    census = survey(rows, ("a", "b"), (("a", "b"),), "l")
    found = compute_statistics(census, Rules()).adjusted
    x = next(
        each for each in found if (each.attribute, each.group, each.label) == ("a", "x", "yes")
    )
    assert (x.crude, x.adjusted) == (1.0, 1.0)


def test_differences_are_adjusted_to_a_stated_group() -> None:
    three = Crossing(
        "l", "a", ("x", "y", "z"), "s", ("p", "q"),
        np.array([[50, 20], [30, 40], [90, 90]]), np.full((3, 2), 100), reference="y",
    )  # fmt: skip
    found = {each.group: each for each in adjust(three)}
    assert set(found) == {"x", "z"}
    assert (found["x"].crude, found["x"].adjusted) == (pytest.approx(0), pytest.approx(0))
    assert found["z"].adjusted == pytest.approx(0.55)
