from __future__ import annotations

import numpy as np
import pytest

from curate.balance.audit.simpson import Crossing, find_reversals

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
