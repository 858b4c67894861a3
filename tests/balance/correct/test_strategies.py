from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.balance.correct.allocation import oversample
from curate.balance.correct.comparison import compare
from curate.balance.correct.strategies import add_positives
from curate.core.errors import DataError, UsageError
from tests.balance.correct.made_up import BIASED, goal_of, strata_of


def test_positives_are_added_until_rates_meet() -> None:
    strata = strata_of(("gender",), BIASED)
    goal = goal_of(strata, ("gender",), tolerance=0.0)
    found = add_positives(strata, goal, "pilot", 0.5)
    made = {
        (people[0][0], labels[0]): int(number)
        for people, labels, number in zip(strata.people, strata.labels, found.added, strict=True)
    }
    # Women: 10 of 90 are pilots, (10 + 70) / (90 + 70) = 1/2; men are above that already.
    assert made == {("Female", "pilot"): 70, ("Male", "pilot"): 0,
                    ("Female", "nurse"): 0, ("Male", "nurse"): 0}  # fmt: skip


@given(
    hits=st.lists(st.integers(1, 30), min_size=2, max_size=4),
    misses=st.lists(st.integers(1, 30), min_size=4, max_size=4),
    tolerance=st.sampled_from([0.0, 0.02]),
)
def test_no_fewer_positives_would_do(hits: list[int], misses: list[int], tolerance: float) -> None:
    cells = [((f"g{n}",), ("yes",), count) for n, count in enumerate(hits)]
    cells += [((f"g{n}",), ("no",), misses[n]) for n in range(len(hits))]
    strata = strata_of(("g",), cells)
    goal = goal_of(strata, ("g",), tolerance=tolerance, max_copies=10_000)
    found = add_positives(strata, goal, "yes", "highest")
    best = max(h / (h + m) for h, m in zip(hits, misses, strict=False))
    for people, labels, count, more in zip(
        strata.people, strata.labels, strata.counts, found.added, strict=True
    ):
        if labels == ("no",):
            assert more == 0
            continue
        size = count + misses[int(people[0][0][1:])]
        assert (count + more) / (size + more) >= best - tolerance - 1e-9
        if more:
            assert (count + more - 1) / (size + more - 1) < best - tolerance + 1e-9


def test_random_additions_do_not_mend_what_positives_do() -> None:
    """Representation and base rate are off together: only one of the ways mends both."""
    strata = strata_of(("gender",), [
        (("f",), ("hired",), 10), (("f",), ("not",), 40),
        (("m",), ("hired",), 150), (("m",), ("not",), 100),
    ])  # fmt: skip
    goal = goal_of(strata, ("gender",), tolerance=0.01, max_copies=20)
    [at_random] = compare(strata, oversample(strata, goal), goal)
    [positives] = compare(strata, add_positives(strata, goal, "hired", "highest"), goal)
    assert at_random.after.total_variation < positives.after.total_variation
    assert positives.after.rate_gap is not None
    assert positives.after.rate_gap < 0.011
    assert positives.after.total_variation < positives.before.total_variation
    hired = [0.6 - 0.2]
    assert positives.before.rate_gap == pytest.approx(hired[0])


def test_what_cannot_be_reached_is_said() -> None:
    strata = strata_of(("gender",), [*BIASED[:1], *BIASED[2:], (("Other",), ("nurse",), 3)])
    goal = goal_of(strata, ("gender",))
    with pytest.raises(DataError, match="Other with pilot: "):
        add_positives(strata, goal, "pilot", "overall")
    with pytest.raises(DataError, match="no record of a known group"):
        add_positives(strata, goal, "judge", "highest")
    with pytest.raises(DataError, match="rate of 1 cannot be reached"):
        add_positives(strata, goal_of(strata, ("gender",), tolerance=0.0), "pilot", "highest")


def test_one_grouping_only() -> None:
    strata = strata_of(("a", "b"), [(("x", "u"), ("yes",), 3)])
    with pytest.raises(UsageError, match="one --by"):
        add_positives(strata, goal_of(strata, ("a",), ("b",)), "yes", "highest")
