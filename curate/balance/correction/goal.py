"""What a correction is to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from curate.balance.audit import Targets
from curate.balance.cells import Columns, Table
from curate.balance.correction.kinds import Kinds
from curate.balance.groups import MISSING
from curate.balance.shares import Group, check_target, iter_groups, margin, uniform
from curate.core.errors import DataError, UsageError

Wanted = Literal["uniform", "observed"] | Targets
"""Even groups, the groups' shares as they are, or reference populations."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a correction is to reach.

    Args:
        targets: for each grouping the share that every group should have.
        within: whether the target is to be met within each label, or over all records.
        tolerance: how far a share may be from its target, 0..1.
        least: records that each label must keep.
        most_copies: times that one record may be in the result.
    """

    targets: Targets
    within: bool = False
    tolerance: float = 0.01
    least: int = 1
    most_copies: int = 10


@dataclass(frozen=True, slots=True)
class Shortage:
    """A cell that keeps a target from being met.

    Args:
        label: the label, or None where targets are for all records.
        columns: the attributes.
        group: their values.
        there: how many of it there are.
        needed: how many more it would take, at the least.
    """

    label: str | None
    columns: Columns
    group: Group
    there: int
    needed: int

    def __str__(self) -> str:
        pairs = zip(self.columns, self.group, strict=True)
        said = ", ".join(f"{name} {value}" for name, value in pairs)
        within = "" if self.label is None else f" of {self.label}"
        return f"{said}{within} (there are {self.there:,}; {self.needed:,} more needed)"


def resolve_targets(kinds: Kinds, by: tuple[Columns, ...], wanted: Wanted) -> Targets:
    """The share that every group of every grouping should have.

    A reference population for several attributes says what is wanted of some of them,
    too; groupings that none speaks of should be even.

    Args:
        kinds: the records.
        by: the groupings.
        wanted: what to aim at.

    Raises:
        UsageError: if a reference population is for no grouping.
        DataError: if a target does not fit the groups, or there is no group.
    """
    if not isinstance(wanted, str):
        for names in wanted:
            if not any(set(columns) <= set(names) for columns in by):
                raise UsageError(f"the target for {','.join(names)} is for no --by")
    return {columns: _resolve(kinds.table(columns), wanted) for columns in by}


def _resolve(table: Table, wanted: Wanted) -> Mapping[Group, float]:
    known = {group: counted or 0 for group, counted in iter_groups(table) if MISSING not in group}
    if not sum(known.values()):
        raise DataError(f"no record has a value of {','.join(table.columns)}")
    if wanted == "observed":
        return {group: counted / sum(known.values()) for group, counted in known.items()}
    reference = None if isinstance(wanted, str) else _find(wanted, table.columns)
    if reference is None:
        return uniform(table)
    check_target(reference, table)
    return reference


def _find(targets: Targets, columns: Columns) -> Mapping[Group, float] | None:
    names = next((names for names in targets if set(columns) <= set(names)), None)
    return None if names is None else margin(targets[names], names, columns)
