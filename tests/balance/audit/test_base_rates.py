from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from curate.balance.audit.base_rates import Groups, LabelRates, control_rates, rate


def groups(
    *sizes: int,
    hidden: tuple[int, ...] = (),
    missing: tuple[int, ...] = (),
    reference: int | None = None,
) -> Groups:
    positions = range(len(sizes))
    return Groups(
        "kind",
        [f"g{position}" for position in positions],
        np.array(sizes),
        np.array([position in hidden for position in positions]),
        np.array([position not in missing for position in positions]),
        reference=reference,
    )


def compare(hits: Sequence[int], given: Groups, hidden: Sequence[bool] | None = None) -> LabelRates:
    masked = np.zeros(len(hits), dtype=bool) if hidden is None else np.array(hidden)
    [found] = control_rates([rate("hired", np.array(hits), masked, given)], 0.05)
    return found


def test_rates_are_compared_with_the_rest() -> None:
    first, second, nobody = compare([60, 40, 0], groups(100, 100, 0)).rates
    assert first.difference == pytest.approx(0.2)
    assert second.difference == pytest.approx(-0.2)
    assert second.ratio == pytest.approx(2 / 3)
    assert second.interval is not None
    assert second.interval.low < -0.2 < second.interval.high < 0
    assert second.p == pytest.approx(stats.fisher_exact([[40, 60], [60, 40]]).pvalue, rel=0.01)
    assert (first.below, second.below) == (False, True)
    assert (nobody.ratio, nobody.p) == (None, None)


def test_one_person_changes_no_other_group() -> None:
    hits, sizes = [1, *[40] * 34], (1, *[100] * 34)
    found = compare(hits, groups(*sizes))
    assert not any(each.below for each in found.rates)


def test_a_rest_that_is_too_small_is_no_reference() -> None:
    first, second = compare([60, 5], groups(100, 10)).rates
    assert first.difference is None
    assert second.difference is not None


def test_the_group_of_missing_values_is_in_no_rest() -> None:
    found = compare([10, 20, 99], groups(100, 100, 100, missing=(2,)))
    assert found.rates[0].ratio == pytest.approx(0.5)
    assert found.rates[2].ratio == pytest.approx(0.99 / 0.15)


def test_nothing_is_compared_with_suppressed_counts() -> None:
    found = compare([0, 20, 30], groups(50, 50, 50), [True, False, False])
    assert found.rates[0].share is None
    assert not found.compared
    assert all(each.ratio is None and each.difference is None for each in found.rates)


def test_rates_of_nothing_have_no_ratio() -> None:
    assert [each.ratio for each in compare([0, 0, 0], groups(50, 50, 50)).rates] == [None] * 3


@pytest.mark.parametrize(("number", "size"), [(50, 40), (8, 20), (3, 300)])
def test_null_data_is_not_marked_and_intervals_cover(number: int, size: int) -> None:
    random = np.random.default_rng(number)
    marked = covered = total = 0
    for _ in range(500):
        sizes = random.integers(size // 2, size * 2, number)
        found = compare(random.binomial(sizes, 0.3).tolist(), groups(*sizes.tolist())).rates
        marked += any(each.below for each in found)
        total += sum(each.interval is not None for each in found)
        covered += sum(
            each.interval is not None and each.interval.low <= 0 <= each.interval.high
            for each in found
        )
    assert marked <= 0.05 * 500
    assert covered >= 0.93 * total


def test_real_differences_are_marked_and_few_others() -> None:
    random = np.random.default_rng(4)
    true = false = 0
    for _ in range(100):
        sizes = np.full(20, 200)
        rates = np.where(np.arange(20) < 5, 0.15, 0.4)
        found = compare(random.binomial(sizes, rates).tolist(), groups(*sizes.tolist())).rates
        true += sum(bool(each.below) for each in found[:5])
        false += sum(bool(each.below) for each in found[5:])
    assert true > 450
    assert false / (true + false) < 0.05


def test_rates_are_compared_with_a_stated_group() -> None:
    first, second, third = compare([60, 40, 10], groups(100, 100, 100, reference=1)).rates
    assert (first.ratio, third.ratio) == (pytest.approx(1.5), pytest.approx(0.25))
    assert (second.difference, second.p, second.below) == (None, None, None)
    assert third.below
    small = compare([60, 5], groups(100, 10, reference=1)).rates
    assert [each.difference for each in small] == [None, None]
