"""Small datasets of which everything is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from curate.balance.correct.goal import Goal, Wanted, resolve_targets
from curate.balance.correct.strata import Kinds, collect_kinds

Cell = tuple[tuple[str, ...], tuple[str, ...], int]
"""A record's group, its labels, and how many such records there are."""


def kinds_of(attributes: tuple[str, ...], cells: Iterable[Cell]) -> Kinds:
    counted: Counter[tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = Counter()
    for group, labels, count in cells:
        counted[((group,), labels)] += count
    return collect_kinds(attributes, counted)


def people_of(
    attributes: tuple[str, ...], cells: Iterable[tuple[tuple[tuple[str, ...], ...], int]]
) -> Kinds:
    counted: Counter[tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = Counter()
    for people, count in cells:
        counted[(tuple(sorted(people)), ())] += count
    return collect_kinds(attributes, counted)


def goal_of(
    kinds: Kinds, *by: tuple[str, ...], wanted: Wanted = "uniform", **options: object
) -> Goal:
    return Goal(resolve_targets(kinds, by, wanted), **options)  # type: ignore[arg-type]


BIASED = (
    (("Female",), ("nurse",), 80),
    (("Male",), ("nurse",), 20),
    (("Female",), ("pilot",), 10),
    (("Male",), ("pilot",), 90),
)
"""Women are nurses, men are pilots."""
