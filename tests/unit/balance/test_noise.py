from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from curate.balance import noise
from curate.balance.audit import Rules, audit
from curate.balance.census import Census, Plan, count
from curate.balance.groups import Reading, Unit
from curate.balance.noise import add_noise
from curate.balance.report import to_dict
from curate.core.errors import UsageError
from tests.unit.balance.surveys import draw, survey


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
    for group in to_dict(audit(noisy, Rules()))["base_rates"]["c0"]["a,b"].values():
        assert group["rate"] is None or 0 <= group["rate"] <= 1


def test_records_with_several_labels_are_not_protected(drawn: list[float]) -> None:
    units = [Unit(("x",), (("l", "m"),))]
    plan = Plan((("a",),), "c")
    several = count(units, Reading(attributes=("a",), labels=("c",)), plan, {})
    with pytest.raises(UsageError, match="some have several of c"):
        add_noise(several, 1.0)
    assert drawn == []
