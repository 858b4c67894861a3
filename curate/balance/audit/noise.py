"""Calibrated noise on every count, so that nobody's presence shows: differential privacy.

The noise is OpenDP's (the extra ``dp``): discrete Laplace, on whole numbers. One more
or one less of what is counted changes one count of each table by one, so that the
budget is shared out evenly over the tables (sequential composition).
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from curate.balance.census import Census
from curate.balance.contingency import Table
from curate.core.errors import MissingExtraError, UsageError
from curate.core.intervals import LEVEL, Interval, Share, wilson

MECHANISM = "discrete Laplace (OpenDP)"
"""What the noise is."""

LEAST, MOST = 1e-6, 1e6
"""Budgets that noise can be drawn for; far inside, it either hides all or nothing."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What was spent.

    Args:
        epsilon: in all.
        tables: how many tables share it.
        scale: of the noise on each count.
    """

    epsilon: float
    tables: int
    scale: float


def add_noise(census: Census, epsilon: float) -> tuple[Census, Budget]:
    """Noise on every count; the cells behind the tables are dropped.

    Which values there are is taken to be known to everybody: it is not protected.
    A record with several labels, and a photo of several people where people are
    counted, change more than one count; what is protected is one of what is counted
    with one label.

    Args:
        census: what was counted.
        epsilon: the budget, above 0.

    Raises:
        UsageError: if a record can have several labels, or the budget is none.
        MissingExtraError: if OpenDP is not installed.
    """
    if not LEAST <= epsilon <= MOST:
        raise UsageError(f"--epsilon must be a number above 0, from {LEAST:f} to {MOST:.0f}")
    several = [name for name in census.plan.labels if name not in census.single]
    if several:
        raise UsageError(
            f"--epsilon protects records with one label each, but some have several of {several[0]}"
        )
    if importlib.util.find_spec("opendp") is None:
        raise MissingExtraError("--epsilon", "opendp", "dp")
    budget = Budget(epsilon, len(census.tables), len(census.tables) / epsilon)
    blur = _mechanism(budget.scale)
    tables = {columns: _blur(table, blur) for columns, table in census.tables.items()}
    total = int(tables[()].counts)
    noisy = replace(census, tables=tables, records=total, cells=None, noise=budget.scale)
    return noisy, budget


def _blur(table: Table, blur: Any) -> Table:
    """Negative counts become 0, which costs no budget."""
    drawn = np.array(blur(table.counts.ravel().tolist()), dtype=np.int64)
    return replace(table, counts=np.maximum(drawn, 0).reshape(table.counts.shape))


def _mechanism(scale: float) -> Any:
    dp = importlib.import_module("opendp.prelude")
    dp.enable_features("contrib")
    space = dp.vector_domain(dp.atom_domain(T="i64")), dp.l1_distance(T="i64")
    return dp.m.make_laplace(*space, scale=scale)


@dataclass(frozen=True, slots=True)
class NoisyShare(Share):
    """A share of which both counts carry discrete Laplace noise.

    Args:
        scale: of the noise.
        drawn: the two counts as they were drawn, of which the first may be the larger.
    """

    scale: float
    drawn: tuple[int, int]

    @property
    def interval(self) -> Interval:
        """Wilson's, at 95 % together with the noise on both counts (Bonferroni's bound)."""
        error = (1 - LEVEL) / 3
        most = noise_quantile(self.scale, error)
        hits, total = self.drawn
        fewest = max(0, hits - most)
        low = wilson(Share(fewest, max(fewest, total + most)), 1 - error).low
        if total - most <= 0:
            return Interval(low, 1.0)
        largest = Share(min(total - most, hits + most), total - most)
        return Interval(low, wilson(largest, 1 - error).high)


def share_of(hits: int, total: int, noise: float) -> Share:
    """A share of counts that may carry noise.

    Args:
        hits: how many.
        total: of how many; noise can make it the smaller of the two.
        noise: the scale of the noise on both; 0 for none.
    """
    if not noise:
        return Share(hits, max(total, hits))
    return NoisyShare(hits, max(total, hits), noise, (hits, total))


def noise_quantile(scale: float, error: float) -> int:
    """How far discrete Laplace noise strays at most, but for a share ``error`` of all draws.

    Noise k has the chance (1 - a)/(1 + a)·a^|k| with a = exp(-1/scale) (Ghosh, Roughgarden
    and Sundararajan, STOC 2009), so that |k| is above m with the chance 2·a^(m + 1)/(1 + a).
    """
    a = math.exp(-1 / scale)
    return max(0, math.ceil(scale * math.log(2 / (error * (1 + a)))) - 1)
