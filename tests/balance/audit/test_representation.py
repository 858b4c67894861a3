from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from curate.balance.audit.representation import (
    check_target,
    chi2_independence,
    compute_divergence,
    compute_shares,
    uniform,
)
from curate.balance.groups import MISSING
from curate.core.errors import DataError
from tests.balance.audit.surveys import survey


def people(**counts: int):
    rows = [(name,) for name, times in counts.items() for _ in range(times)]
    return survey(rows, ("kind",), (("kind",),)).table("kind")


def test_even_groups_are_as_even_as_can_be() -> None:
    table = people(a=50, b=50, c=50, d=50)
    even = compute_divergence(table, uniform(table))
    assert even is not None
    assert even.fit is not None
    assert even.entropy == pytest.approx(1)
    assert even.effective == pytest.approx(4)
    assert (even.total_variation, even.kl, even.fit.v) == pytest.approx((0, 0, 0))
    assert even.fit.p == pytest.approx(1)


def test_single_numbers_are_those_of_their_definitions() -> None:
    table = people(a=70, b=20, c=10)
    target = {("a",): 0.5, ("b",): 0.25, ("c",): 0.25}
    found = compute_divergence(table, target)
    assert found is not None
    assert found.fit is not None
    shares, wanted = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.25, 0.25])
    assert found.entropy == pytest.approx(stats.entropy(shares) / math.log(3))
    assert found.effective == pytest.approx(math.exp(stats.entropy(shares)))
    assert found.total_variation == pytest.approx(0.2)
    assert found.kl == pytest.approx(stats.entropy(shares, wanted, base=2))
    chi2, p = stats.chisquare([70, 20, 10], wanted * 100)
    assert (found.fit.chi2, found.fit.p) == pytest.approx((chi2, p))
    assert found.fit.v == pytest.approx(math.sqrt(chi2 / (100 * 3)))


def test_a_single_group_has_all_of_the_effect_that_there_can_be() -> None:
    table = people(a=10)
    found = compute_divergence(table, {("a",): 0.1, ("b",): 0.9})
    assert found is not None
    assert found.entropy is None
    lone = people(a=100, b=0, c=1)
    assert compute_divergence(lone, uniform(lone)) is not None


def test_what_the_target_has_none_of_is_infinitely_far() -> None:
    found = compute_divergence(people(a=5, b=5), {("a",): 1.0, ("b",): 0.0})
    assert found is not None
    assert found.kl is None
    assert found.fit is None
    assert found.total_variation == pytest.approx(0.5)


def test_missing_values_have_a_share_but_no_target() -> None:
    table = people(**{"a": 30, "b": 10, MISSING: 60})
    shares = {each.group[0]: each for each in compute_shares(table, 100, uniform(table))}
    assert list(shares) == ["a", "b", MISSING]
    assert shares["a"].share is not None
    assert shares["a"].share.value == pytest.approx(0.3)
    assert shares["a"].ratio == pytest.approx(1.5)
    assert shares[MISSING].ratio is None
    found = compute_divergence(table, uniform(table))
    assert found is not None
    assert found.total_variation == pytest.approx(0.25)


def test_a_target_must_be_for_these_groups() -> None:
    table = people(a=1, b=1)
    with pytest.raises(DataError, match="has kind 'x', which no record has; values: a, b"):
        check_target({("a",): 0.5, ("x",): 0.5}, table)
    with pytest.raises(DataError, match="no row for 'b'"):
        check_target({("a",): 1.0}, table)


def test_independence_is_pearsons() -> None:
    counts = np.array([[20, 30, 0], [25, 5, 0], [0, 0, 0]])
    found = chi2_independence(counts)
    assert found is not None
    known = stats.chi2_contingency(counts[:2, :2], correction=False)
    assert (found.chi2, found.p) == pytest.approx((known.statistic, known.pvalue))
    assert found.v == pytest.approx(stats.contingency.association(counts[:2, :2]))
    assert chi2_independence(counts[2:]) is None
