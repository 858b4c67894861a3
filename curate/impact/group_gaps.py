"""Gaps of accuracy between groups, valid although the groups are selected from the same data.

The best and the worst group are selected by their observed accuracy, so that an ordinary
interval of the gap between them is too narrow, and the gap shrinks by regression to the mean as
soon as anything is measured again. Three statistics avoid this:

- `estimate_selected_gap`: the interval of the gap holds for all pairs of groups simultaneously
  (Bonferroni), so also for the selected one.
- `cross_fit_growth`: the growth of the gap is measured on one half of the images for the pair
  that is selected on the other half, and the reverse.
- `compare_with_rest`: every group is tested against all other images.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from curate.core.intervals import Interval
from curate.impact.experiment import Bools, Hits, Ints
from curate.impact.variance_components import (
    Estimate,
    estimate_gap,
    estimate_growth,
    p_of_interval,
)

MIN_IMAGES = 30
"""Smaller groups are shown but not compared with others."""

Rows = Mapping[str, Ints]
"""Indices of the images of each compared group."""


@dataclass(frozen=True, slots=True)
class Growth:
    """Cross-fitted growth of the gap between the best and the worst group.

    Args:
        estimate: growth, obfuscated minus original.
        pairs: the best and the worst group selected in either half.
    """

    estimate: Estimate
    pairs: tuple[tuple[str, str], tuple[str, str]]


def select_pair(hits: Bools, rows: Rows) -> tuple[str, str]:
    """Return the groups with the highest and the lowest accuracy; ties by name.

    Args:
        hits: per-image correctness, shape (N, S).
        rows: at least two groups.
    """
    accuracy = {name: float(hits[own].mean()) for name, own in sorted(rows.items())}
    ordered = sorted(accuracy, key=lambda name: -accuracy[name])
    return ordered[0], ordered[-1]


def estimate_selected_gap(hits: Bools, rows: Rows, pair: tuple[str, str]) -> Estimate:
    """Estimate the gap of a pair that may have been selected by it.

    Args:
        hits: per-image correctness, shape (N, S).
        rows: all groups that the pair was selected from.
        pair: the better and the worse group.
    """
    pairs = len(rows) * (len(rows) - 1) // 2
    return estimate_gap(hits[rows[pair[0]]], hits[rows[pair[1]]], pairs)


def cross_fit_growth(selecting: Bools, hits: Hits, rows: Rows, seed: int) -> Growth:
    """Estimate the growth of the gap between the best and the worst group.

    Either half selects the pair of the other, so that each estimate is unbiased; their mean has
    the interval of two independent halves.

    Args:
        selecting: correctness by which the pair is selected, shape (N, S).
        hits: correctness before and after, N images.
        rows: at least two groups of at least four images.
        seed: random seed of the halves.
    """
    random = np.random.default_rng([seed, zlib.crc32(b"halves")])
    halves: tuple[dict[str, Ints], dict[str, Ints]] = ({}, {})
    for name, own in sorted(rows.items()):
        drawn = random.permutation(own)
        halves[0][name], halves[1][name] = drawn[: len(own) // 2], drawn[len(own) // 2 :]
    pairs = select_pair(selecting, halves[1]), select_pair(selecting, halves[0])
    found = [
        estimate_growth(hits.select(half[best]), hits.select(half[worst]))
        for half, (best, worst) in zip(halves, pairs, strict=True)
    ]
    value = float(np.mean([each.value for each in found]))
    below = math.hypot(*(each.value - each.interval.low for each in found)) / 2
    above = math.hypot(*(each.interval.high - each.value for each in found)) / 2
    per_seed = np.mean([each.per_seed for each in found], axis=0)
    interval = Interval(value - below, value + above)
    estimate = Estimate(
        sum(each.n for each in found),
        value,
        interval,
        p_of_interval(value, interval),
        tuple(float(each) for each in per_seed),
    )
    return Growth(estimate, pairs)


def compare_with_rest(hits: Hits, rows: Rows) -> dict[str, Estimate]:
    """Estimate how much more each group changes than all other compared images.

    Intervals hold for all groups simultaneously, and p-values are adjusted (Bonferroni).

    Args:
        hits: correctness before and after.
        rows: at least two groups.
    """
    found = {}
    for name, own in rows.items():
        rest = np.concatenate([other for each, other in rows.items() if each != name])
        found[name] = estimate_growth(hits.select(own), hits.select(rest), len(rows))
    return found
