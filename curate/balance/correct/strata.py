"""Strata: records with the same groups and labels, counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from curate.balance.audit.representation import Group
from curate.balance.contingency import MAX_VALUES, Columns, Ints, Order, Table, collect_cells
from curate.balance.groups import MISSING, Unit
from curate.core.errors import DataError
from curate.core.intervals import Floats

MAX_STRATA = 200_000
"""Maximum number of strata."""

MAX_MEMBERS = 50_000_000
"""Maximum number of groups times strata."""

People = tuple[Group, ...]
"""The groups of all people in a record, sorted; one if records are counted."""

Labels = tuple[str, ...]
"""A record's labels, sorted; empty if no label column is used."""

Stratum = tuple[People, Labels]
"""Groups and labels of a record."""


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """K strata and their sizes.

    Args:
        attributes: the columns that a group has values of.
        people: groups of all people in a record, per stratum.
        labels: labels, per stratum.
        counts: number of records, int64, shape (K,).
    """

    attributes: Columns
    people: tuple[People, ...]
    labels: tuple[Labels, ...]
    counts: Ints

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def are_single(self) -> bool:
        """Whether every record has exactly one group."""
        return all(len(people) == 1 for people in self.people)

    def names(self) -> tuple[str, ...]:
        """All labels except missing values, sorted."""
        found = {name for labels in self.labels for name in labels}
        return tuple(sorted(found - {MISSING}))

    def having(self, label: str | None) -> Ints:
        """Indices of the strata with a label; of all strata for None."""
        if label is None:
            return np.arange(len(self))
        found = [position for position, labels in enumerate(self.labels) if label in labels]
        return np.array(found, dtype=np.int64)

    def table(self, columns: Columns, order: Order | None = None) -> Table:
        """Contingency table of some attributes."""
        counted: dict[Group, int] = {}
        for people, count in zip(self.people, self.counts.tolist(), strict=True):
            for group in people:
                counted[group] = counted.get(group, 0) + count
        return collect_cells(self.attributes, counted, order or {}).cross(columns)

    def units(self, counts: Ints) -> Iterator[Unit]:
        """The units that an audit would count if strata had these sizes.

        Args:
            counts: K.
        """
        for people, labels, count in zip(self.people, self.labels, counts.tolist(), strict=True):
            if count:
                for group in people:
                    yield Unit(group, (labels,) if labels else (), count)


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Number of people of each of G groups in a record of each of K strata.

    Args:
        columns: the attributes.
        groups: the groups, without missing values.
        people: float64, shape (K, G).
    """

    columns: Columns
    groups: tuple[Group, ...]
    people: Floats

    @property
    def known(self) -> Floats:
        """Number of people of any of the groups per record, shape (K,)."""
        total: Floats = self.people.sum(axis=1)
        return total


def find_members(strata: Strata, columns: Columns, groups: Sequence[Group]) -> Members:
    """Count the people of each group; people with a missing value are in no group.

    Args:
        strata: the records.
        columns: some of their attributes.
        groups: the groups to count.

    Raises:
        DataError: if there are too many.
    """
    if len(strata) * len(groups) > MAX_MEMBERS:
        raise DataError(
            f"{','.join(columns)} has {len(groups):,} groups in {len(strata):,} strata, more than "
            "can be corrected; cross fewer attributes, or use coarser bins"
        )
    positions = [strata.attributes.index(name) for name in columns]
    column = {group: number for number, group in enumerate(groups)}
    people = np.zeros((len(strata), len(groups)))
    for row, everyone in enumerate(strata.people):
        for one in everyone:
            found = column.get(tuple(one[position] for position in positions))
            if found is not None:
                people[row, found] += 1
    return Members(columns, tuple(groups), people)


def collect_strata(attributes: Columns, counted: Mapping[Stratum, int]) -> Strata:
    """Strata sorted by groups and labels.

    Raises:
        DataError: if there are too many strata, or an attribute has too many values.
    """
    for position, name in enumerate(attributes):
        if len({group[position] for people, _ in counted for group in people}) > MAX_VALUES:
            raise DataError(
                f"{name} has more than {MAX_VALUES:,} values, the maximum for an attribute; choose "
                "another column, or give its ranges with --bins"
            )
    if len(counted) > MAX_STRATA:
        raise DataError(
            f"there are {len(counted):,} strata, more than {MAX_STRATA:,}; use fewer attributes "
            "or coarser bins"
        )
    ordered = sorted(counted)
    return Strata(
        attributes,
        tuple(people for people, _ in ordered),
        tuple(labels for _, labels in ordered),
        np.array([counted[stratum] for stratum in ordered], dtype=np.int64),
    )


@dataclass(frozen=True, slots=True, eq=False)
class LoadedRecords:
    """The loaded records.

    Args:
        strata: the records to correct.
        facts: how the ids of the table match the records.
        splits: records per split, of those corrected and of those left unchanged.
    """

    strata: Strata
    facts: Mapping[str, Any]
    splits: Mapping[str, Mapping[str, int]]
