from __future__ import annotations

import numpy as np
import pytest

from curate.balance.audit.base_rates import Groups, rate


def groups(*sizes: int, hidden: tuple[int, ...] = (), missing: tuple[int, ...] = ()) -> Groups:
    places = range(len(sizes))
    return Groups(
        "kind",
        [f"g{place}" for place in places],
        np.array(sizes),
        np.array([place in hidden for place in places]),
        np.array([place not in missing for place in places]),
    )


SHOWN = np.zeros(3, dtype=bool)


def test_rates_are_compared_with_the_highest() -> None:
    found = rate("hired", np.array([60, 45, 0]), SHOWN, groups(100, 100, 0))
    assert found.reference == "g0"
    first, second, nobody = found.rates
    assert (first.ratio, first.below) == (1.0, False)
    assert second.difference == pytest.approx(-0.15)
    assert second.ratio == pytest.approx(0.75)
    assert second.below
    assert second.interval is not None
    assert second.interval.low < -0.15 < second.interval.high < 0
    assert nobody.ratio is None
    assert nobody.share is not None
    assert nobody.share.total == 0


def test_the_group_of_missing_values_is_no_reference() -> None:
    found = rate("hired", np.array([10, 20, 99]), SHOWN, groups(100, 100, 100, missing=(2,)))
    assert found.reference == "g1"
    assert found.rates[2].ratio == pytest.approx(99 / 20)


def test_nothing_is_said_of_what_is_hidden() -> None:
    hidden = np.array([True, False, False])
    found = rate("hired", np.array([0, 20, 30]), hidden, groups(50, 50, 50))
    assert found.rates[0].share is None
    assert found.reference is None
    assert all(each.ratio is None and each.difference is None for each in found.rates)


def test_rates_of_nothing_have_no_ratio() -> None:
    found = rate("hired", np.array([0, 0, 0]), SHOWN, groups(50, 50, 50))
    assert [each.ratio for each in found.rates] == [None, None, None]
