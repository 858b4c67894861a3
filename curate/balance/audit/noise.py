"""Differential privacy: calibrated noise on every count.

The mechanism is OpenDP's discrete Laplace (extra ``dp``). Adding or removing one unit changes
one count of each table by one; the budget is split evenly over the tables (sequential
composition).
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

MIN_EPSILON, MAX_EPSILON = 1e-6, 1e6
"""Range of accepted budgets."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The privacy budget spent.

    Args:
        epsilon: total budget.
        tables: number of tables that share it.
        scale: scale of the noise on each count.
    """

    epsilon: float
    tables: int
    scale: float


def add_noise(census: Census, epsilon: float) -> tuple[Census, Budget]:
    """Add noise to every count; the sparse table is dropped.

    The set of values is assumed to be public. One unit with one label is protected; a photo
    of several people counts as several units with ``per="person"``.

    Args:
        census: the counts.
        epsilon: the budget, above 0.

    Raises:
        UsageError: if a record can have several labels, or the budget is out of range.
        MissingExtraError: if OpenDP is not installed.
    """
    if not MIN_EPSILON <= epsilon <= MAX_EPSILON:
        raise UsageError(
            f"--epsilon must be a number above 0, from {MIN_EPSILON:f} to {MAX_EPSILON:.0f}"
        )
    several = [name for name in census.plan.labels if name not in census.single]
    if several:
        raise UsageError(
            f"--epsilon requires one label per record, but some have several of {several[0]}"
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
    """A share of two counts with discrete Laplace noise.

    Args:
        scale: scale of the noise.
        drawn: the noisy counts; the first may be the larger.
    """

    scale: float
    drawn: tuple[int, int]

    @property
    def interval(self) -> Interval:
        """95 % Wilson interval including the noise on both counts (Bonferroni bound)."""
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
    """A share of counts that may have noise.

    Args:
        hits: numerator.
        total: denominator; noise can make it the smaller of the two.
        noise: scale of the noise on both; 0 for none.
    """
    if not noise:
        return Share(hits, max(total, hits))
    return NoisyShare(hits, max(total, hits), noise, (hits, total))


def noise_quantile(scale: float, error: float) -> int:
    """Bound on the absolute discrete Laplace noise that holds with probability 1 - ``error``.

    Noise k has probability (1 - a)/(1 + a)·a^|k| with a = exp(-1/scale) (Ghosh, Roughgarden
    and Sundararajan, STOC 2009), so that P(|k| > m) is 2·a^(m + 1)/(1 + a).
    """
    a = math.exp(-1 / scale)
    return max(0, math.ceil(scale * math.log(2 / (error * (1 + a)))) - 1)
