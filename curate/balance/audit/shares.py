"""How many of each group there are, and how that compares with a target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from curate.balance.audit.noise import share_of
from curate.balance.cells import Table
from curate.balance.groups import MISSING
from curate.core.errors import DataError
from curate.core.intervals import Interval, Share

Group = tuple[str, ...]
"""A value for each column of a table."""


@dataclass(frozen=True, slots=True)
class GroupShare:
    """One group of a table.

    Args:
        group: its values.
        share: its count, of all that were counted; None where the count is hidden.
        target: the share that it should have among groups without missing values, 0..1;
            None where a value is missing.
        ratio: its share among groups without missing values, divided by the target; None
            where there is no target, the target is 0, or a count is hidden.
    """

    group: Group
    share: Share | None
    target: float | None
    ratio: float | None

    @property
    def interval(self) -> Interval | None:
        """Wilson's, 95 %; of counts with noise, wide enough for that as well."""
        return self.share.interval if self.share else None


def iter_groups(table: Table) -> list[tuple[Group, int | None]]:
    """The groups of a table with their counts, None where hidden, in the order of its values."""
    groups: list[Group] = [()]
    for values in table.values:
        groups = [(*group, value) for group in groups for value in values]
    counts = table.counts.ravel().tolist()
    hidden = table.hidden.ravel().tolist()
    return [
        (group, None if is_hidden else count)
        for group, count, is_hidden in zip(groups, counts, hidden, strict=True)
    ]


def spell(group: Group) -> str:
    """A group as one text, ``a|b``; bars and backslashes inside several values are escaped."""
    if len(group) == 1:
        return group[0]
    return "|".join(value.replace("\\", "\\\\").replace("|", "\\|") for value in group)


def uniform(table: Table) -> dict[Group, float]:
    """The target that every group without missing values is as large as every other."""
    known = [group for group, _ in iter_groups(table) if MISSING not in group]
    return {group: 1 / len(known) for group in known}


def margin(
    target: Mapping[Group, float], columns: tuple[str, ...], kept: tuple[str, ...]
) -> dict[Group, float]:
    """What a target for several columns says of some of them."""
    places = [columns.index(name) for name in kept]
    shares: dict[Group, float] = {}
    for group, share in target.items():
        part = tuple(group[place] for place in places)
        shares[part] = shares.get(part, 0.0) + share
    return shares


def check_target(target: Mapping[Group, float], table: Table) -> None:
    """Refuse a target that is not for these groups; a group nobody is of may be left out.

    Raises:
        DataError: if it names a group that no record is of, or leaves one out.
    """
    name = ",".join(table.columns)
    known = [set(values) for values in table.values]
    for group in target:
        for column, value, values in zip(table.columns, group, known, strict=True):
            if value not in values:
                have = ", ".join(sorted(values - {MISSING})[:12])
                raise DataError(
                    f"the target names {column} {value!r}, which no record has; it has: {have}"
                )
    for group, counted in iter_groups(table):
        if counted and MISSING not in group and group not in target:
            raise DataError(
                f"the target for {name} says nothing of {'|'.join(group)!r}; "
                "give it a share, 0 if there should be none"
            )


def share_out(
    table: Table, total: int, target: Mapping[Group, float], noise: float = 0.0
) -> tuple[GroupShare, ...]:
    """The share of each group of a table, against a target.

    Args:
        table: counts.
        total: how many were counted.
        target: shares by group, adding up to 1; a group that it leaves out should be none.
        noise: the scale of noise on every count; 0 for none.
    """
    groups = iter_groups(table)
    known = sum(counted or 0 for group, counted in groups if MISSING not in group)
    shares = []
    for group, counted in groups:
        wanted = None if MISSING in group else target.get(group, 0.0)
        ratio = None
        if table.whole and wanted and counted is not None and known:
            ratio = counted / known / wanted
        share = None if counted is None else share_of(counted, total, noise)
        shares.append(GroupShare(group, share, wanted, ratio))
    return tuple(shares)
