"""Does a model look at faces? The share of its attribution that lies inside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from curate.core.intervals import LEVEL, Interval, percentiles
from curate.impact.arrays import Floats
from curate.impact.resample import make_bootstrap, resample

LEAST = 5
"""Of fewer images no interval is given."""


@dataclass(frozen=True, slots=True)
class Shares:
    """One method's shares on one image; NaN where nothing speaks for the class.

    Args:
        area: share of the model's input inside faces.
        original: share of positive attribution inside faces, on the original.
        obfuscated: the same on the obfuscated image.
        elsewhere_original: the same inside equal regions elsewhere; NaN where there is no place.
        elsewhere_obfuscated: the same on the obfuscated image.
    """

    area: float
    original: float
    obfuscated: float
    elsewhere_original: float
    elsewhere_obfuscated: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, NaN of nothing, and its interval, or None of too little."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Side:
    """What a method says of the images of one side.

    Args:
        share: mean share of attribution inside faces.
        ratio: that, divided by the mean share of area: 1 is as much as chance.
        elsewhere: the ratio of equal regions elsewhere in the same images.
    """

    share: Estimate
    ratio: Estimate
    elsewhere: Estimate


@dataclass(frozen=True, slots=True)
class FaceShare:
    """What a method says of some images.

    Args:
        n: images that count.
        left_out: images for which nothing speaks for the class, so that it has no share.
        placed: images among them with room for equal regions elsewhere.
        area: mean share of area inside faces.
        original: before.
        obfuscated: after.
        difference: mean of the paired differences of shares, obfuscated minus original.
    """

    n: int
    left_out: int
    placed: int
    area: float
    original: Side
    obfuscated: Side
    difference: Estimate


def share_inside(attribution: Floats, coverage: Floats) -> float:
    """Share of what speaks for a class that lies inside regions, 0..1; NaN of nothing.

    Only positive attribution counts: what speaks against a class is no part of why it was
    chosen.

    Args:
        attribution: a map, H×W.
        coverage: how much of each place lies inside, H×W, 0..1.
    """
    positive = np.maximum(attribution, 0.0)
    total = float(positive.sum())
    return float((positive * coverage).sum()) / total if total > 0 else math.nan


def summarise(shares: Sequence[Shares], seed: int) -> FaceShare:
    """Means over images with intervals that hold for other images of their kind."""
    table = np.array(
        [
            (
                *(each.area, each.original, each.obfuscated),
                *(each.elsewhere_original, each.elsewhere_obfuscated),
            )
            for each in shares
        ]
    ).reshape(-1, 5)
    known = table[np.isfinite(table[:, 1]) & np.isfinite(table[:, 2])]
    placed = known[np.isfinite(known[:, 3]) & np.isfinite(known[:, 4])]
    return FaceShare(
        n=len(known),
        left_out=len(table) - len(known),
        placed=len(placed),
        area=_mean(known[:, 0]),
        original=_side(known, placed, 1, seed),
        obfuscated=_side(known, placed, 2, seed),
        difference=estimate(known[:, 2] - known[:, 1], seed),
    )


def estimate(values: npt.ArrayLike, seed: int) -> Estimate:
    """The mean of values, one per image."""
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    means = _resample(column, seed)
    return Estimate(_mean(column), means if means is None else _middle(means[:, 0], len(column)))


def _side(known: Floats, placed: Floats, column: int, seed: int) -> Side:
    return Side(
        share=estimate(known[:, column], seed),
        ratio=_ratio(known[:, [column, 0]], seed),
        elsewhere=_ratio(placed[:, [column + 2, 0]], seed),
    )


def _ratio(pairs: Floats, seed: int) -> Estimate:
    """A ratio of means: one of each image would let the smallest faces decide."""
    if not len(pairs):
        return Estimate(math.nan, None)
    above, below = pairs.mean(axis=0)
    means = _resample(pairs, seed)
    ends = None if means is None else _middle(means[:, 0] / means[:, 1], len(pairs))
    return Estimate(float(above / below), ends)


def _resample(values: Floats, seed: int) -> Floats | None:
    if len(values) < LEAST:
        return None
    return resample(values, make_bootstrap(1, seed), "images")


def _middle(samples: Floats, n: int) -> Interval | None:
    """A percentile interval, wider by as much as Student's is than what n images show.

    Hesterberg, *What Teachers Should Know About the Bootstrap* (The American Statistician 69,
    2015), 3.4: of few images the plain one is too narrow.
    """
    wide = math.sqrt(n / (n - 1)) * float(stdtrit(n - 1, (1 + LEVEL) / 2))
    return percentiles(samples, 2 * NormalDist().cdf(wide) - 1)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else math.nan
