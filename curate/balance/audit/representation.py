"""How many of each group there are, and how that compares with a target."""

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


@dataclass(frozen=True, slots=True)
class Fit:
    """A χ² test.

    Args:
        chi2: the statistic.
        freedom: its degrees of freedom.
        p: chance of as large a statistic where nothing is the matter; None for no freedom.
        v: Cramér's V, 0..1; None for no freedom.
    """

    chi2: float
    freedom: int
    p: float | None
    v: float | None


@dataclass(frozen=True, slots=True)
class Divergence:
    """The groups of a table without those of missing values, as shares of their sum.

    Args:
        entropy: Shannon's, divided by that of even groups, 0..1; None for a single group.
        effective: the number of even groups that would have this entropy (Hill, *Diversity
            and evenness*, Ecology 54, 1973, of order 1).
        total_variation: half the sum of the differences to the target, 0..1: the share of
            all that would have to be of another group.
        kl: Kullback and Leibler's divergence from the target, bits; None where it is
            infinite, for there is a group of which the target wants none.
        fit: of the counts to the target; V as Ben-Shachar et al. generalise it to uneven
            targets (Mathematics 11, 2023, their פ); None where the target is 0 somewhere.
    """

    entropy: float | None
    effective: float
    total_variation: float
    kl: float | None
    fit: Fit | None


def diverge(table: Table, target: Mapping[Group, float]) -> Divergence | None:
    """Compare a table with a target.

    Returns:
        None where a count is hidden, or there is nobody of a known group: what were
        said of hidden counts could tell them.
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


def independence(counts: npt.NDArray[np.int64]) -> Fit | None:
    """Test whether the rows of a table of counts are distributed alike (Pearson's χ²).

    Args:
        counts: R×C; rows and columns of nothing are left out.
    """
    table = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0].astype(np.float64)
    rows, columns = table.shape
    if rows < 2 or columns < 2:
        return None
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / table.sum()
    chi2 = float(((table - expected) ** 2 / expected).sum())
    return _test(chi2, (rows - 1) * (columns - 1), table.sum() * (min(rows, columns) - 1))


def _fit(counts: Floats, wanted: Floats) -> Fit | None:
    if not (wanted > 0).all():
        return None
    expected = wanted * counts.sum()
    chi2 = float(((counts - expected) ** 2 / expected).sum())
    return _test(chi2, len(counts) - 1, counts.sum() * (1 / wanted.min() - 1))


def _test(chi2: float, freedom: int, most: float) -> Fit:
    """The test of a statistic that can at most be ``most``."""
    if not freedom:
        return Fit(chi2, 0, None, None)
    return Fit(chi2, freedom, float(chdtrc(freedom, chi2)), math.sqrt(min(1.0, chi2 / most)))


def _kullback_leibler(shares: Floats, wanted: Floats) -> float | None:
    if (wanted[shares > 0] == 0).any():
        return None
    ratio = np.divide(shares, wanted, out=np.ones_like(shares), where=shares > 0)
    return max(0.0, _sum_of_logs(shares, ratio))


def _sum_of_logs(weights: Floats, values: Floats) -> float:
    """The sum of each weight times the binary logarithm of its value; 0 where there is none."""
    return float((weights * np.log2(values, out=np.zeros_like(values), where=weights > 0)).sum())
