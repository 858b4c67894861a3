"""How accuracy changes between two sets of predictions of the same images."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, bdtrik

from curate.core.intervals import Interval, hull, paired, percentiles
from curate.impact.arms import Hits
from curate.impact.arrays import Floats
from curate.impact.resample import Bootstrap, over_models, resample


@dataclass(frozen=True, slots=True)
class Change:
    """An accuracy before and after; shares are 0..1, NaN of no images.

    Args:
        n: images.
        original: accuracy on original images, mean over models.
        obfuscated: accuracy on obfuscated images, mean over models.
        wald: Bonett and Price's interval of the difference, over images.
        bootstrap: the bootstrap's, over images and models; None where it says nothing.
    """

    n: int
    original: float
    obfuscated: float
    wald: Interval
    bootstrap: Interval | None

    @property
    def difference(self) -> float:
        """Obfuscated minus original: negative where accuracy is lost."""
        return self.obfuscated - self.original

    @property
    def interval(self) -> Interval:
        """Of the difference: holds both the bootstrap's and Bonett and Price's.

        Of many images and one model the two are the same. Of few changed images the
        bootstrap is too narrow; over several models the other one is.
        """
        return hull(self.wald, self.bootstrap)


def compare(hits: Hits, bootstrap: Bootstrap, stream: str) -> Change:
    """The change of accuracy, with intervals.

    Args:
        hits: of any number of images.
        bootstrap: how resamples are drawn.
        stream: names the draw.
    """
    if not len(hits):
        return Change(0, math.nan, math.nan, Interval(-1.0, 1.0), None)
    differences = hits.differences
    drawn = over_models(resample(differences, bootstrap, stream), bootstrap)
    return Change(
        n=len(hits),
        original=float(hits.original.mean()),
        obfuscated=float(hits.obfuscated.mean()),
        wald=paired(differences.mean(axis=1)),
        bootstrap=percentiles(drawn),
    )


@dataclass(frozen=True, slots=True)
class McNemar:
    """Discordant images, and the exact test of them.

    Args:
        b: images that are right before and wrong after: lost.
        c: images that are wrong before and right after: gained.
        p: chance of a split at least as uneven, if both were equally likely.
    """

    b: int
    c: int
    p: float


def mcnemar(hits: Hits) -> McNemar:
    """McNemar's exact test (Psychometrika 12, 1947).

    Of several models, an image counts as lost if more models lose it than gain it:
    models that see the same image are not independent, images are. The test is then
    about these models, not about others of their kind.
    """
    net = hits.differences.sum(axis=1)
    lost, gained = int((net < 0).sum()), int((net > 0).sum())
    return McNemar(lost, gained, float(exact_p(lost, gained)))


def exact_p(b: npt.ArrayLike, c: npt.ArrayLike) -> Floats:
    """Two-sided p of the sign test, elementwise; 1 where nothing changed."""
    lost, gained = np.asarray(b), np.asarray(c)
    tail = bdtr(np.minimum(lost, gained), lost + gained, 0.5)
    return np.minimum(1.0, 2.0 * np.asarray(tail, dtype=np.float64))


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


def control(p: Floats) -> Floats:
    """The q values: the false discovery rate at which each test would just hold.

    Benjamini and Hochberg, *Controlling the false discovery rate* (JRSS B 57, 1995).

    Args:
        p: of any number of tests.
    """
    order = np.argsort(p)[::-1]
    places = np.arange(len(p), 0, -1)
    q = np.empty(len(p))
    q[order] = np.minimum.accumulate(np.minimum(1.0, p[order] * (len(p) / places)))
    return q
