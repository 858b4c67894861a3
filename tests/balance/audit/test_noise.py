from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from curate.balance.audit import noise
from curate.balance.audit.measure import Rules, compute_statistics
from curate.balance.audit.noise import add_noise, noise_quantile, share_of
from curate.balance.audit.report import statistics_to_dict as to_dict
from curate.balance.census import Census, Plan, count, merge
from curate.balance.groups import Reading, Unit
from curate.core.errors import UsageError
from curate.core.intervals import Share
from tests.balance.audit.surveys import draw, survey


@pytest.fixture
def people() -> Census:
    return survey(draw(0, 2000, (2, 3, 4)), ("a", "b"), (("a", "b"),), "c")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Noise of NumPy's in OpenDP's place; says which scales it was asked for."""
    scales: list[float] = []
    random = np.random.default_rng(0)

    def mechanism(scale: float):
        scales.append(scale)

        def blur(counts: Sequence[int]) -> list[int]:
            return [each + round(random.laplace(0, scale)) for each in counts]

        return blur

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(noise, "_mechanism", mechanism)
    return scales


def test_the_budget_is_shared_out_over_all_tables(people: Census, drawn: list[float]) -> None:
    noisy, budget = add_noise(people, 0.5)
    assert budget.tables == len(people.tables) == 8
    assert drawn == [budget.scale] == [8 / 0.5]
    assert noisy.cells is None
    assert noisy.records == int(noisy.total.counts) != people.records


def test_figures_stay_figures_whatever_the_noise(people: Census, drawn: list[float]) -> None:
    noisy, _ = add_noise(people, 0.05)
    assert all((table.counts >= 0).all() for table in noisy.tables.values())
    for group in to_dict(compute_statistics(noisy, Rules()))["base_rates"]["c0"]["a,b"].values():
        assert group["rate"] is None or 0 <= group["rate"] <= 1


def test_noise_passes_for_no_finding(people: Census, drawn: list[float]) -> None:
    noisy, _ = add_noise(people, 0.05)
    found = compute_statistics(noisy, Rules())
    assert found.associations
    assert not any(each.flagged for each in found.associations)
    assert {(each.p, each.q, each.interval) for each in found.associations} == {(None, None, None)}
    assert set(found.label_fits.values()) == {None}
    assert found.reversals == ()
    assert all(each.divergence.fit is None for each in found.groupings if each.divergence)
    assert all(rate.below is None for each in found.base_rates for rate in each.rates)


@pytest.mark.parametrize("epsilon", [math.nan, math.inf, -1.0, 0.0, 1e-300, 1e300])
def test_a_budget_that_is_none_is_refused(people: Census, epsilon: float) -> None:
    with pytest.raises(UsageError, match=r"--epsilon must be a number above 0"):
        add_noise(people, epsilon)


def test_noise_of_several_sites_adds_up(people: Census, drawn: list[float]) -> None:
    sites = [add_noise(people, epsilon)[0] for epsilon in (1.0, 2.0)]
    assert merge([*sites, people], {}).noise == 8 / 1.0 + 8 / 2.0


def test_intervals_hold_the_noise_as_well() -> None:
    random = np.random.default_rng(3)
    for scale, size, chance in ((2.0, 60, 0.1), (16.0, 400, 0.5), (40.0, 90, 0.9)):
        hits = 0
        for _ in range(1500):
            exact = (random.binomial(size, chance), size)
            a = math.exp(-1 / scale)
            noise = random.geometric(1 - a, size=2) - random.geometric(1 - a, size=2)
            low, high = share_of(*(max(0, int(n)) for n in exact + noise), scale).interval
            assert 0 <= low <= high <= 1
            hits += low <= chance <= high
        assert hits >= 0.95 * 1500


def test_without_noise_intervals_are_wilsons() -> None:
    assert share_of(3, 10, 0.0) == Share(3, 10)
    assert share_of(12, 10, 0.0) == Share(12, 12)


@pytest.mark.parametrize("scale", [0.3, 2.0, 50.0])
def test_noise_strays_as_far_as_its_law_says(scale: float) -> None:
    a = math.exp(-1 / scale)
    for error in (0.5, 0.05, 0.001):
        most = noise_quantile(scale, error)

        def above(m: int) -> float:
            return 2 * a ** (m + 1) / (1 + a)

        assert above(most) <= error * (1 + 1e-9)
        assert most == 0 or above(most - 1) > error


def test_opendp_spends_the_budget_that_is_stated(people: Census) -> None:
    pytest.importorskip("opendp")
    _, budget = add_noise(people, 0.5)
    one_table = noise._mechanism(budget.scale).map(1)
    # One more or one less changes one count by one in each table.
    assert budget.tables * one_table == pytest.approx(budget.epsilon, rel=1e-6)


def test_opendp_draws_noise_of_the_stated_scale() -> None:
    pytest.importorskip("opendp")
    draws = np.array(noise._mechanism(16.0)([1000] * 40_000)) - 1000
    a = math.exp(-1 / 16.0)
    # Mean and variance of the discrete law; its draws cannot be seeded.
    assert draws.mean() == pytest.approx(0, abs=6 * math.sqrt(2) * 16 / 200)
    assert draws.var() == pytest.approx(2 * a / (1 - a) ** 2, rel=0.1)
    assert np.abs(draws).max() > 60
    assert (np.abs(draws) > noise_quantile(16.0, 0.05)).mean() == pytest.approx(0.05, abs=0.01)


def test_records_with_several_labels_are_not_protected(drawn: list[float]) -> None:
    units = [Unit(("x",), (("l", "m"),))]
    plan = Plan((("a",),), "c")
    several = count(units, Reading(attributes=("a",), labels=("c",)), plan, {})
    with pytest.raises(UsageError, match="some have several of c"):
        add_noise(several, 1.0)
    assert drawn == []
