"""How far the groups of a table are from even, and from a target, in single numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from curate.balance.audit.shares import Group, iter_groups
from curate.balance.cells import Table
from curate.balance.groups import MISSING
from curate.core.intervals import Floats


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
