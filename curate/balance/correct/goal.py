"""Targets of a correction, and the allocation that meets them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from curate.balance.audit.measure import Targets
from curate.balance.audit.representation import Group, check_target, iter_groups, margin, uniform
from curate.balance.contingency import Columns, Ints, Table
from curate.balance.correct.strata import Strata
from curate.balance.groups import MISSING
from curate.core.errors import DataError, UsageError
from curate.core.intervals import Floats

TargetSpec = Literal["uniform", "observed"] | Targets
"""Uniform, the current shares, or reference populations."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Targets and constraints of a correction.

    Args:
        targets: target share of every group, by grouping.
        within: meet the target within each label; over all records if False.
        tolerance: maximum difference of a share from its target, 0..1.
        min_per_label: minimum records to keep per label.
        max_copies: maximum occurrences of a record in the result.
    """

    targets: Targets
    within: bool = False
    tolerance: float = 0.01
    min_per_label: int = 1
    max_copies: int = 10


@dataclass(frozen=True, slots=True)
class Shortage:
    """A cell with too few records.

    Args:
        label: the label, or None if targets are over all records.
        columns: the attributes.
        group: their values.
        there: number of records.
        needed: minimum number of additional records.
    """

    label: str | None
    columns: Columns
    group: Group
    there: int
    needed: int

    def __str__(self) -> str:
        pairs = zip(self.columns, self.group, strict=True)
        named = ", ".join(f"{name} {value}" for name, value in pairs)
        within = "" if self.label is None else f" of {self.label}"
        return f"{named}{within} ({self.there:,} available, {self.needed:,} more needed)"


def resolve_targets(strata: Strata, by: tuple[Columns, ...], wanted: TargetSpec) -> Targets:
    """The target share of every group of every grouping.

    A reference population for several attributes also gives the margins of some of them;
    groupings without a reference population get uniform targets.

    Args:
        strata: the records.
        by: the groupings.
        wanted: the requested target.

    Raises:
        UsageError: if a reference population matches no grouping.
        DataError: if a target does not fit the groups, or there is no group.
    """
    if not isinstance(wanted, str):
        for names in wanted:
            if not any(set(columns) <= set(names) for columns in by):
                raise UsageError(f"the target for {','.join(names)} matches no --by")
    return {columns: _resolve(strata.table(columns), wanted) for columns in by}


def _resolve(table: Table, wanted: TargetSpec) -> Mapping[Group, float]:
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
class Allocation:
    """The number of records to keep and add per stratum, and their weights (K strata).

    Args:
        kept: records to keep, int64, shape (K,).
        added: copies to add, int64, shape (K,).
        weights: weight of each record, float64, shape (K,).
        why: reason for removing or adding, per stratum; None where nothing changes.
        gap: relative optimality gap; None if nothing was optimized.
        notes: remarks for the report.
    """

    kept: Ints
    added: Ints
    weights: Floats
    why: tuple[str | None, ...]
    gap: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def mass(self) -> Floats:
        """Total weight per stratum after the correction, shape (K,)."""
        return (self.kept + self.added) * self.weights

    @property
    def effective(self) -> float:
        """Effective sample size (Kish, *Survey Sampling*, 1965).

        The squared sum of the weights over the sum of their squares.
        """
        times = self.kept + self.added
        squares = float((times * self.weights**2).sum())
        return float(self.mass.sum()) ** 2 / squares if squares else 0.0

    def effective_counts(self) -> Ints:
        """K, records of each kind in a sample of the effective size.

        Sums over the strata so far are rounded, not each kind: many small ones would all be
        rounded the same way. Strata stand by group, so that no group differs by more than one.
        """
        mass = self.mass
        scale = self.effective / float(mass.sum()) if mass.sum() else 0.0
        return np.diff(np.rint(np.cumsum(mass * scale)), prepend=0.0).astype(np.int64)
