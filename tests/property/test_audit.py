"""Algebra of audits: parts put together are the whole."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from curate.balance.audit.measure import Rules, compute_statistics
from curate.balance.audit.report import statistics_to_dict as to_dict
from curate.balance.audit.representation import iter_groups
from curate.balance.audit.suppression import suppress
from curate.balance.census import Plan, census_from_dict, census_to_dict, count, merge
from curate.balance.groups import Reading, Unit
from curate.core.errors import DataError

VALUES = st.sampled_from(["x", "y", "z", "(missing)"])
LABELS = st.lists(st.sampled_from(["l", "m", "n"]), min_size=1, max_size=2, unique=True)
PEOPLE = st.lists(st.tuples(VALUES, VALUES, LABELS), min_size=1, max_size=40)
READING = Reading(attributes=("b", "a"), labels=("label",))
PLAN = Plan((("b",), ("b", "a")), "label", crossed=("b", "a"))
ORDER = {"a": ("z", "y")}


def census(people: list[tuple[str, str, list[str]]]):
    units = (Unit((b, a), (tuple(sorted(labels)),)) for b, a, labels in people)
    return count(units, READING, PLAN, ORDER)


@given(PEOPLE, st.lists(st.integers(0, 2), min_size=40, max_size=40))
@settings(max_examples=25)
def test_joined_parts_are_the_audit_of_the_whole(people, sites) -> None:
    parts = [
        census(chosen)
        for site in range(3)
        if (chosen := [one for one, where in zip(people, sites, strict=False) if where == site])
    ]
    rules = Rules(threshold=3, seed=5)
    joined = compute_statistics(merge(parts, ORDER), rules)
    assert to_dict(joined) == to_dict(compute_statistics(census(people), rules))


@given(PEOPLE)
def test_a_census_comes_back_from_plain_values(people) -> None:
    whole = census(people)
    back = census_from_dict(census_to_dict(whole), whole.records)
    assert census_to_dict(back) == census_to_dict(whole)


@given(PEOPLE, PEOPLE)
def test_what_one_site_hides_stays_hidden(people, others) -> None:
    try:
        hidden = suppress(census(people * 5), 6)
    except DataError:
        return
    joined = merge([hidden, census(others)], ORDER)
    for columns, table in joined.tables.items():
        groups = iter_groups(hidden.tables[columns])
        secret = {group for group, count_ in groups if count_ is None}
        shown = {group for group, count_ in iter_groups(table) if count_ is not None}
        assert not secret & shown
