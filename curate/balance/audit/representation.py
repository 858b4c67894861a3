"""Group shares, and their divergence from a target."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from curate.balance.audit.noise import share_of
from curate.balance.contingency import Table
from curate.balance.groups import MISSING
from curate.core.errors import DataError
from curate.core.intervals import Floats, Interval, Share

Group = tuple[str, ...]
"""A value for each column of a table."""


@dataclass(frozen=True, slots=True)
class GroupShare:
    """One group of a table.

    Args:
        group: its values.
        share: its count, of all units; None if suppressed.
        target: target share among groups without missing values, 0..1; None if a value is
            missing.
        ratio: its share among groups without missing values, divided by the target; None
            if the target is missing or 0, or a count is suppressed.
    """

    group: Group
    share: Share | None
    target: float | None
    ratio: float | None

    @property
    def interval(self) -> Interval | None:
        """95 % Wilson interval; for counts with noise, including the noise."""
        return self.share.interval if self.share else None


def iter_groups(table: Table) -> list[tuple[Group, int | None]]:
    """The groups of a table with counts, None if suppressed, in the order of its values."""
    groups: list[Group] = [()]
    for values in table.values:
        groups = [(*group, value) for group in groups for value in values]
    counts = table.counts.ravel().tolist()
    hidden = table.hidden.ravel().tolist()
    return [
        (group, None if is_hidden else count)
        for group, count, is_hidden in zip(groups, counts, hidden, strict=True)
    ]


def format_group(group: Group) -> str:
    """Format a group as ``a|b``; bars and backslashes in crossed values are escaped."""
    if len(group) == 1:
        return group[0]
    return "|".join(value.replace("\\", "\\\\").replace("|", "\\|") for value in group)


def uniform(table: Table) -> dict[Group, float]:
    """The uniform target over groups without missing values."""
    known = [group for group, _ in iter_groups(table) if MISSING not in group]
    return {group: 1 / len(known) for group in known}


def margin(
    target: Mapping[Group, float], columns: tuple[str, ...], kept: tuple[str, ...]
) -> dict[Group, float]:
    """The margin of a target for some of its columns."""
    positions = [columns.index(name) for name in kept]
    shares: dict[Group, float] = {}
    for group, share in target.items():
        part = tuple(group[position] for position in positions)
        shares[part] = shares.get(part, 0.0) + share
    return shares


def check_target(target: Mapping[Group, float], table: Table) -> None:
    """Check that a target matches the groups; empty groups may be omitted.

    Raises:
        DataError: if it names an unknown value, or omits a group.
    """
    name = ",".join(table.columns)
    known = [set(values) for values in table.values]
    for group in target:
        for column, value, values in zip(table.columns, group, known, strict=True):
            if value not in values:
                have = ", ".join(sorted(values - {MISSING})[:12])
                raise DataError(
                    f"the target has {column} {value[:80]!r}, which no record has; values: {have}"
                )
    for group, counted in iter_groups(table):
        if counted and MISSING not in group and group not in target:
            raise DataError(
                f"the target for {name} has no row for {'|'.join(group)!r}; "
                "add its share, which may be 0"
            )


def compute_shares(
    table: Table, total: int, target: Mapping[Group, float], noise: float = 0.0
) -> tuple[GroupShare, ...]:
    """The share of each group, compared with a target.

    Args:
        table: counts.
        total: number of units.
        target: shares by group, with sum 1; omitted groups have target 0.
        noise: scale of noise on every count; 0 for none.
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


@dataclass(frozen=True, slots=True)
class ChiSquare:
    """A χ² test.

    Args:
        chi2: the statistic.
        dof: degrees of freedom.
        p: p-value; None for 0 degrees of freedom.
        v: Cramér's V, 0..1; None for 0 degrees of freedom.
    """

    chi2: float
    dof: int
    p: float | None
    v: float | None


@dataclass(frozen=True, slots=True)
class Divergence:
    """Divergence of group shares from a target, without missing values.

    Args:
        entropy: Shannon entropy divided by that of uniform groups, 0..1; None for a single
            group.
        effective: effective number of groups: Hill number of order 1 (Hill, *Diversity and
            evenness*, Ecology 54, 1973).
        total_variation: total variation distance from the target, 0..1.
        kl: Kullback-Leibler divergence from the target, bits; None if infinite.
        fit: χ² goodness of fit; its V is generalized to non-uniform targets (Ben-Shachar et
            al., Mathematics 11, 2023, their פ); None if a target share is 0.
    """

    entropy: float | None
    effective: float
    total_variation: float
    kl: float | None
    fit: ChiSquare | None


def compute_divergence(table: Table, target: Mapping[Group, float]) -> Divergence | None:
    """Compute the divergence of a table from a target.

    Returns:
        None if a count is suppressed, which the figures could reveal, or all are 0.
    """
    groups = [(group, counted) for group, counted in iter_groups(table) if MISSING not in group]
    counts = np.array([counted or 0 for _, counted in groups], dtype=np.float64)
    wanted = np.array([target.get(group, 0.0) for group, _ in groups])
    if not table.whole or not counts.sum():
        return None
    shares = counts / counts.sum()
    bits = _sum_of_logs(shares, shares)
    return Divergence(
        entropy=-bits / math.log2(len(shares)) if len(shares) > 1 else None,
        effective=2**-bits,
        total_variation=float(np.abs(shares - wanted).sum() / 2),
        kl=_kullback_leibler(shares, wanted),
        fit=_fit(counts, wanted),
    )


def chi2_independence(counts: npt.NDArray[np.int64]) -> ChiSquare | None:
    """Pearson's χ² test of independence.

    Args:
        counts: int64, shape (R, C); empty rows and columns are ignored.
    """
    table = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0].astype(np.float64)
    rows, columns = table.shape
    if rows < 2 or columns < 2:
        return None
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    chi2 = float(((table - expected) ** 2 / expected).sum())
    return _test(chi2, (rows - 1) * (columns - 1), table.sum() * (min(rows, columns) - 1))


def _fit(counts: Floats, wanted: Floats) -> ChiSquare | None:
    if not (wanted > 0).all():
        return None
    expected = wanted * counts.sum()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    return _test(chi2, len(counts) - 1, counts.sum() * (1 / wanted.min() - 1))


def _test(chi2: float, dof: int, max_statistic: float) -> ChiSquare:
    """The test of a statistic with maximum ``max_statistic``."""
    if not dof:
        return ChiSquare(chi2, 0, None, None)
    return ChiSquare(chi2, dof, float(chdtrc(dof, chi2)), math.sqrt(min(1.0, chi2 / max_statistic)))


def _kullback_leibler(shares: Floats, wanted: Floats) -> float | None:
    if (wanted[shares > 0] == 0).any():
        return None
    ratio = np.divide(shares, wanted, out=np.ones_like(shares), where=shares > 0)
    return max(0.0, _sum_of_logs(shares, ratio))


def _sum_of_logs(weights: Floats, values: Floats) -> float:
    """Sum of weight · log2(value); 0 where the weight is 0."""
    return float((weights * np.log2(values, out=np.zeros_like(values), where=weights > 0)).sum())
