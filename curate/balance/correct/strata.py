"""Records that are alike in all that a correction looks at, counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from curate.balance.audit.representation import Group
from curate.balance.contingency import MOST_VALUES, Columns, Ints, Order, Table, collect_cells
from curate.balance.groups import MISSING, Unit
from curate.core.errors import DataError
from curate.core.intervals import Floats

MOST_KINDS = 200_000
"""Different records that a correction can look at."""

MOST_MEMBERS = 50_000_000
"""Groups times different records."""

People = tuple[Group, ...]
"""The groups of everyone in a record, sorted; one where records are counted."""

Labels = tuple[str, ...]
"""A record's labels, sorted; none where no label is looked at."""

Kind = tuple[People, Labels]
"""All that a correction knows of a record."""


@dataclass(frozen=True, slots=True, eq=False)
class Kinds:
    """Records by kind.

    Args:
        attributes: what groups are made of.
        people: K, the groups of everyone in such a record.
        labels: K, its labels.
        counts: K, how many such records there are.
    """

    attributes: Columns
    people: tuple[People, ...]
    labels: tuple[Labels, ...]
    counts: Ints

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def are_single(self) -> bool:
        """Whether every record counts once."""
        return all(len(people) == 1 for people in self.people)

    def names(self) -> tuple[str, ...]:
        """Every label that a record has, but for missing ones."""
        found = {name for labels in self.labels for name in labels}
        return tuple(sorted(found - {MISSING}))

    def having(self, label: str | None) -> Ints:
        """The places of the kinds with a label; of all kinds for None."""
        if label is None:
            return np.arange(len(self))
        found = [place for place, labels in enumerate(self.labels) if label in labels]
        return np.array(found, dtype=np.int64)

    def table(self, columns: Columns, order: Order | None = None) -> Table:
        """How many of each group of some attributes there are."""
        counted: dict[Group, int] = {}
        for people, count in zip(self.people, self.counts.tolist(), strict=True):
            for group in people:
                counted[group] = counted.get(group, 0) + count
        return collect_cells(self.attributes, counted, order or {}).cross(columns)

    def units(self, counts: Ints) -> Iterator[Unit]:
        """What an audit counts, were there so many records of each kind.

        Args:
            counts: K.
        """
        for people, labels, count in zip(self.people, self.labels, counts.tolist(), strict=True):
            if count:
                for group in people:
                    yield Unit(group, (labels,) if labels else (), count)


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Who in each kind of record is of which group of some attributes.

    Args:
        columns: the attributes.
        groups: G, without those of missing values.
        people: K×G, how many in such a record are of each.
    """

    columns: Columns
    groups: tuple[Group, ...]
    people: Floats

    @property
    def known(self) -> Floats:
        """K, how many in such a record are of any of the groups."""
        total: Floats = self.people.sum(axis=1)
        return total


def find_members(kinds: Kinds, columns: Columns, groups: Sequence[Group]) -> Members:
    """Count who in each kind of record is of which group; who has no value is of none.

    Args:
        kinds: the records.
        columns: some of their attributes.
        groups: the groups to tell apart.

    Raises:
        DataError: if there are too many.
    """
    if len(kinds) * len(groups) > MOST_MEMBERS:
        raise DataError(
            f"{','.join(columns)} has {len(groups):,} groups in {len(kinds):,} different records: "
            "too many to correct; cross fewer attributes, or use coarser bins"
        )
    places = [kinds.attributes.index(name) for name in columns]
    column = {group: number for number, group in enumerate(groups)}
    people = np.zeros((len(kinds), len(groups)))
    for row, everyone in enumerate(kinds.people):
        for one in everyone:
            found = column.get(tuple(one[place] for place in places))
            if found is not None:
                people[row, found] += 1
    return Members(columns, tuple(groups), people)


def collect_kinds(attributes: Columns, counted: Mapping[Kind, int]) -> Kinds:
    """Kinds in an order that depends on nothing but what they are.

    Raises:
        DataError: if there are too many, or an attribute has more values than groups can
            be read.
    """
    for place, name in enumerate(attributes):
        if len({group[place] for people, _ in counted for group in people}) > MOST_VALUES:
            raise DataError(
                f"{name} has more than {MOST_VALUES:,} values: too many for groups; choose another "
                "column, or give its ranges with --bins"
            )
    if len(counted) > MOST_KINDS:
        raise DataError(
            f"there are {len(counted):,} different records, more than {MOST_KINDS:,}; look at "
            "fewer attributes, or at coarser bins"
        )
    ordered = sorted(counted)
    return Kinds(
        attributes,
        tuple(people for people, _ in ordered),
        tuple(labels for _, labels in ordered),
        np.array([counted[kind] for kind in ordered], dtype=np.int64),
    )
