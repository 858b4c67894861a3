"""Small datasets of which everything is known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from curate.balance.correct.goal import Goal, TargetSpec, resolve_targets
from curate.balance.correct.strata import Strata, collect_strata

Cell = tuple[tuple[str, ...], tuple[str, ...], int]
"""A record's group, its labels, and how many such records there are."""


def strata_of(attributes: tuple[str, ...], cells: Iterable[Cell]) -> Strata:
    counted: Counter[tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = Counter()
    for group, labels, count in cells:
        counted[((group,), labels)] += count
    return collect_strata(attributes, counted)


def people_of(
    attributes: tuple[str, ...], cells: Iterable[tuple[tuple[tuple[str, ...], ...], int]]
) -> Strata:
    counted: Counter[tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]] = Counter()
    for people, count in cells:
        counted[(tuple(sorted(people)), ())] += count
    return collect_strata(attributes, counted)


def goal_of(
    strata: Strata, *by: tuple[str, ...], wanted: TargetSpec = "uniform", **options: object
) -> Goal:
    return Goal(resolve_targets(strata, by, wanted), **options)  # type: ignore[arg-type]


BIASED = (
    (("Female",), ("nurse",), 80),
    (("Male",), ("nurse",), 20),
    (("Female",), ("pilot",), 10),
    (("Male",), ("pilot",), 90),
)
"""Women are nurses, men are pilots."""
