"""Shares of counts that carry noise: what their intervals have to hold besides."""

from __future__ import annotations

import math
from dataclasses import dataclass

from curate.core.intervals import LEVEL, Interval, Share, wilson


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
