from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, false_discovery_control

from curate.core.intervals import percentiles
from curate.core.p_values import benjamini_hochberg
from curate.impact.experiment import Hits
from curate.impact.paired import (
    average_models,
    compare,
    exact_p,
    find_power,
    make_bootstrap,
    mcnemar,
    resample,
)
from tests.impact.predictions.experiments import draw_hits

QUICK = make_bootstrap(1, draws=400)


def test_shares_and_their_difference() -> None:
    before = np.array([1, 1, 1, 0], dtype=bool)[:, None]
    after = np.array([1, 0, 0, 0], dtype=bool)[:, None]
    found = compare(Hits(before, after), QUICK, "top1")
    assert (found.n, found.original, found.obfuscated) == (4, 0.75, 0.25)
    assert found.difference == -0.5


def test_no_images_give_nan() -> None:
    nothing = Hits(np.zeros((0, 1), dtype=bool), np.zeros((0, 1), dtype=bool))
    found = compare(nothing, QUICK, "top1")
    assert math.isnan(found.difference)
    assert found.interval == (-1.0, 1.0)


def test_identical_predictions_have_a_narrow_interval() -> None:
    before = np.ones((1000, 1), dtype=bool)
    found = compare(Hits(before, before), QUICK, "top1")
    assert found.difference == 0
    assert found.bootstrap is None
    assert found.interval.low == pytest.approx(-found.interval.high)
    assert found.interval.high == pytest.approx(1.96 * math.sqrt(2) / 1002, rel=1e-3)


@pytest.mark.parametrize(
    ("n", "lost", "gained"), [(50, 0.1, 0.02), (1000, 0.03, 0.02), (4000, 0.002, 0.002)]
)
def test_interval_of_a_planted_drop_has_nominal_coverage(
    n: int, lost: float, gained: float
) -> None:
    random = np.random.default_rng(4)
    held = 0
    for _ in range(600):
        interval = compare(draw_hits(random, n, lost, gained), QUICK, "top1").interval
        held += interval.low <= gained - lost <= interval.high
    assert held / 600 >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 600)


def test_bootstrap_agrees_with_theory_for_many_images() -> None:
    random = np.random.default_rng(5)
    held = 0
    for _ in range(600):
        interval = compare(draw_hits(random, 3000, 0.06, 0.04), QUICK, "top1").bootstrap
        assert interval is not None
        held += interval.low <= -0.02 <= interval.high
    assert held / 600 == pytest.approx(0.95, abs=0.035)


def draw_models(random: np.random.Generator, models: int) -> Hits:
    """400 images seen by models whose own true drops spread by 0.03 around 0.05."""
    before, after = [], []
    for drop in random.normal(0.05, 0.03, size=models):
        hits = draw_hits(random, 400, 0.1 + drop / 2, 0.1 - drop / 2)
        before.append(hits.original)
        after.append(hits.obfuscated)
    return Hits(np.concatenate(before, axis=1), np.concatenate(after, axis=1))


@pytest.mark.parametrize("models", [2, 3, 10])
def test_few_models_have_wide_intervals(models: int) -> None:
    random = np.random.default_rng(6)
    bootstrap, held, held_for_images = make_bootstrap(models, draws=300), 0, 0
    for _ in range(300):
        hits = draw_models(random, models)
        interval = compare(hits, bootstrap, "top1").interval
        held += interval.low <= -0.05 <= interval.high
        images = percentiles(resample(hits.differences, bootstrap, "images").mean(axis=1))
        assert images is not None
        held_for_images += images.low <= -0.05 <= images.high
    assert held / 300 >= 0.95 - 4 * math.sqrt(0.95 * 0.05 / 300)
    assert held_for_images < held  # why the models are drawn, too


def test_identical_models_do_not_widen_the_interval() -> None:
    one = draw_hits(np.random.default_rng(9), 400, 0.1, 0.05)
    three = Hits(np.repeat(one.original, 3, axis=1), np.repeat(one.obfuscated, 3, axis=1))
    single = compare(one, make_bootstrap(1), "top1")
    assert compare(three, make_bootstrap(3), "top1").interval == pytest.approx(single.interval)


def test_multinomial_counts_equal_drawing_rows() -> None:
    values = np.random.default_rng(7).integers(-1, 2, size=(200, 2)).astype(float)
    bootstrap = make_bootstrap(1, draws=4000)
    drawn = resample(values, bootstrap, "kinds")
    rows = np.random.default_rng(8).integers(0, 200, size=(4000, 200))
    plain = values[rows].mean(axis=1)
    assert drawn.std(axis=0) == pytest.approx(plain.std(axis=0), rel=0.06)
    assert np.corrcoef(drawn.T)[0, 1] == pytest.approx(np.corrcoef(values.T)[0, 1], abs=0.05)


def test_a_seed_decides_and_streams_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    values = draw_hits(np.random.default_rng(1), 100, 0.2, 0.1).differences
    first = resample(values, make_bootstrap(1, 3), "a")
    assert (resample(values, make_bootstrap(1, 3), "a") == first).all()
    assert (resample(values, make_bootstrap(1, 4), "a") != first).any()
    assert (resample(values, make_bootstrap(1, 3), "b") != first).any()
    monkeypatch.setattr("curate.impact.paired._ELEMENTS", 100)
    assert (resample(values, make_bootstrap(1, 3), "a") == first).all()


def test_one_model_has_unit_weight() -> None:
    bootstrap = make_bootstrap(1)
    columns = np.arange(bootstrap.draws, dtype=float)[:, None]
    assert (average_models(columns, bootstrap) == columns[:, 0]).all()


@pytest.mark.parametrize(("b", "c"), [(0, 0), (5, 0), (0, 6), (3, 3), (10, 2), (480, 520)])
def test_p_equals_the_binomial_test(b: int, c: int) -> None:
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


def test_models_of_one_image_are_one_observation() -> None:
    one = draw_hits(np.random.default_rng(0), 200, lost=0.05, gained=0.01)
    five = Hits(np.repeat(one.original, 5, axis=1), np.repeat(one.obfuscated, 5, axis=1))
    assert mcnemar(five) == mcnemar(one)


def test_size_of_the_test_is_nominal() -> None:
    random = np.random.default_rng(9)
    found = [mcnemar(draw_hits(random, 1000, 0.05, 0.05)).p <= 0.05 for _ in range(2000)]
    # An exact test keeps below its level; four standard errors above it is a fault.
    assert np.mean(found) <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / 2000)
    assert np.mean(found) > 0.015


def test_power_agrees_with_connors_formula() -> None:
    # Connor, Biometrics 43 (1987) 207-211: d √n = z(1-α/2) √ψ + z(power) √(ψ - d²).
    hits = draw_hits(np.random.default_rng(0), 50_000, 0.06, 0.04)
    power = find_power(hits)
    d, share = power.detectable, power.discordant
    assert d is not None
    formula = 1.959964 * math.sqrt(share) + 0.841621 * math.sqrt(share - d * d)
    assert d * math.sqrt(50_000) == pytest.approx(formula, rel=0.02)


@pytest.mark.parametrize(("n", "share"), [(2000, 0.1), (1000, 0.02), (500, 0.004)])
def test_detectable_drop_has_nominal_power(n: int, share: float) -> None:
    random = np.random.default_rng(1)
    kinds = draw_hits(random, n, share / 2, share / 2)
    power = find_power(kinds)
    d = power.detectable
    assert d is not None
    share = max(power.discordant, d)
    found = [
        mcnemar(draw_hits(random, n, (share + d) / 2, (share - d) / 2)).p <= 0.05
        for _ in range(500)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.06)


def test_few_images_have_no_detectable_drop() -> None:
    some = np.ones((5, 1), dtype=bool)
    assert find_power(Hits(some, some)).detectable is None


def test_identical_models_have_the_power_of_one() -> None:
    one = draw_hits(np.random.default_rng(3), 500, 0.06, 0.04)
    three = Hits(np.repeat(one.original, 3, axis=1), np.repeat(one.obfuscated, 3, axis=1))
    assert find_power(three) == find_power(one)


def test_no_discordant_images_need_eight() -> None:
    same = np.ones((1000, 1), dtype=bool)
    assert find_power(Hits(same, same)).detectable == pytest.approx(0.008, abs=0.0005)


def test_q_values_equal_scipys() -> None:
    p = np.random.default_rng(0).random(50) ** 3
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))


def test_by_hand_in_any_order() -> None:
    assert benjamini_hochberg(np.array([0.04, 0.01, 0.03])) == pytest.approx([0.04, 0.03, 0.04])
    assert benjamini_hochberg(np.array([])).tolist() == []
