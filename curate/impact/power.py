"""The smallest drop that a comparison could have shown."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrik

from curate.impact.arms import Hits
from curate.impact.arrays import Floats

ALPHA, POWER = 0.05, 0.8
_REACH = 6.0  # standard deviations of the number of changed images that are looked at
_STEPS = 40  # halvings of an interval of length 1


@dataclass(frozen=True, slots=True)
class Power:
    """What the sample could have shown.

    Args:
        discordant: share of images that changed between right and wrong; of several
            models, of those that more models lost than gained, or the other way.
        detectable: the smallest drop of accuracy, 0..1, that McNemar's test would call
            significant at ALPHA with a chance of POWER; None where no drop is.
    """

    discordant: float
    detectable: float | None


def find_power(hits: Hits) -> Power:
    """Find the drop at which the exact test reaches its power, by halving.

    As many images change as were seen to, and their split is what the drop makes it. No
    drop exceeds the share that changes: where it would, every change is a loss and more
    images change than were seen to. Of several models the images that change do so by
    less than one whole hit in the mean, and the drop is smaller by as much.

    Args:
        hits: of at least one image.
    """
    n, net = len(hits), hits.differences.mean(axis=1)
    changed = np.abs(net[net != 0])
    discordant = len(changed) / n
    size = float(changed.mean()) if len(changed) else 1.0
    if reach_power(n, discordant, 1.0) < POWER:
        return Power(discordant, None)
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if reach_power(n, discordant, middle) < POWER:
            low = middle
        else:
            high = middle
    return Power(discordant, size * high)


def reach_power(n: int, discordant: float, drop: float) -> float:
    """Chance that McNemar's exact test finds a drop.

    Args:
        n: images.
        discordant: share of them that changes, 0..1; at least the drop, or it counts as that.
        drop: what is lost more than gained, a share of the images, 0..1.
    """
    share = max(discordant, drop)
    if share == 0:
        return 0.0
    reach = _REACH * math.sqrt(n * share * (1 - share)) + 1
    first, last = max(0, math.floor(n * share - reach)), min(n, math.ceil(n * share + reach))
    changed = np.arange(first, last + 1)
    chance = _at_most(changed, n, share) - _at_most(changed - 1, n, share)
    # The most gained images, of so many that changed, at which the test still finds a drop.
    most = np.floor(np.nan_to_num(bdtrik(ALPHA / 2, changed, 0.5), nan=0.0))
    most -= _at_most(most, changed, 0.5) > ALPHA / 2
    return float(chance @ _at_most(most, changed, (share - drop) / (2 * share)))


def _at_most(k: npt.ArrayLike, n: npt.ArrayLike, p: float) -> Floats:
    """Binomial distribution function, also below 0."""
    found = bdtr(np.maximum(k, 0), n, p)
    return np.where(np.asarray(k) < 0, 0.0, found)
