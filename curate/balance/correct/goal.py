"""What a correction is to reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.balance.audit.measure import Targets
from curate.balance.audit.representation import Group, check_target, iter_groups, margin, uniform
from curate.balance.contingency import Columns, Ints, Table
from curate.balance.correct.strata import Kinds
from curate.balance.groups import MISSING
from curate.core.errors import DataError, UsageError
from curate.core.intervals import Floats

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


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What becomes of each kind of record.

    Args:
        kept: K, how many records stay.
        made: K, how many are made from those that stay.
        weights: K, the weight of each of them.
        why: K, the reason for what is removed or made; None where nothing is.
        gap: how much better, as a share, a solution could at most be; None where there is
            nothing to search for, 0 where none is better.
        notes: what a user should know, a line each.
    """

    kept: Ints
    made: Ints
    weights: Floats
    why: tuple[str | None, ...]
    gap: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def mass(self) -> Floats:
        """K, how much each kind counts for afterwards."""
        return (self.kept + self.made) * self.weights

    @property
    def effective(self) -> float:
        """Records of equal weight that would be worth as much (Kish, *Survey Sampling*, 1965).

        The squared sum of the weights over the sum of their squares.
        """
        times = self.kept + self.made
        squares = float((times * self.weights**2).sum())
        return float(self.mass.sum()) ** 2 / squares if squares else 0.0

    def effective_counts(self) -> Ints:
        """K, records of each kind in a sample of the effective size.

        Sums over the kinds so far are rounded, not each kind: many small ones would all be
        rounded the same way. Kinds stand by group, so that no group is off by more than one.
        """
        mass = self.mass
        scale = self.effective / float(mass.sum()) if mass.sum() else 0.0
        return np.diff(np.rint(np.cumsum(mass * scale)), prepend=0.0).astype(np.int64)
